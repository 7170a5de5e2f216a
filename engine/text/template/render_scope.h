// Inside engine/text/template only.
#pragma once

#include <memory>
#include <utility>

#include "engine/text/template/renderer.h"

namespace gridquant::text::jinja {

class Renderer::Scope {
 public:
  explicit Scope(Renderer& renderer) : Scope(renderer, renderer.frame_) {}
  Scope(Renderer& renderer, std::shared_ptr<Frame> parent) : renderer_(renderer), outer_(renderer.frame_) {
    renderer_.frame_ = std::make_shared<Frame>();
    renderer_.frame_->parent = std::move(parent);
  }
  ~Scope() { renderer_.frame_ = std::move(outer_); }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  Renderer& renderer_;
  std::shared_ptr<Frame> outer_;
};

}  // namespace gridquant::text::jinja
