// What the services share: unary calls that are answered later, calls that change something. Who may call what is
// decided before, by the credentials (coordinator/auth).
#pragma once

#include <functional>
#include <string>
#include <utility>

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "coordinator/control/control.h"
#include "coordinator/rpc/errors.h"

namespace gridquant::rpc {

using Finish = std::function<void(const grpc::Status&)>;

class Calls {
 public:
  explicit Calls(control::Control& control) : control_(control) {}

  control::Control& control() const { return control_; }
  control::Core& core() const { return control_.core(); }

  // `body(finish)` calls finish once, from any thread; request and response live until then.
  template <class Body>
  grpc::ServerUnaryReactor* unary(grpc::CallbackServerContext* context, const Body& body) const {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    body(Finish([reactor](const grpc::Status& status) { reactor->Finish(status); }));
    return reactor;
  }

  // A look at what is durable; `with(view)` fills the response and gives the call's status.
  template <class With>
  grpc::ServerUnaryReactor* look(grpc::CallbackServerContext* context, const With& with) const {
    return unary(context, [&](const Finish& finish) {
      const Status posted = core().look(
          [with, finish](const control::View& view) { finish(to_grpc(view.ended.ok() ? with(view) : view.ended)); });
      if (!posted.ok()) finish(to_grpc(posted));
    });
  }

  // An input with a request id; `done(result)` fills the response.
  template <class Input, class Fill>
  grpc::ServerUnaryReactor* change(grpc::CallbackServerContext* context, Input input, const Fill& fill) const {
    return unary(context, [&](const Finish& finish) {
      if (const Status id = check_request_id(input.request); !id.ok()) return finish(to_grpc(id));
      const Status posted = core().post(std::move(input), [fill, finish](const StatusOr<std::string>& result) {
        if (result.ok()) fill(*result);
        finish(to_grpc(result.status()));
      });
      if (!posted.ok()) finish(to_grpc(posted));
    });
  }

 private:
  control::Control& control_;
};

}  // namespace gridquant::rpc
