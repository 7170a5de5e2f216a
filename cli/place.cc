// See place.h.
#include "cli/place.h"

#include "cli/command.h"
#include "cli/common_options.h"
#include "cli/security_options.h"

namespace gridquant::cli {
namespace {

Option add_client_options(Command command, const Invocation& invocation, Place& place, const std::string& help) {
  const Option coordinator = command.add_option("--coordinator", place.coordinator, help);
  place.coordinator_option = coordinator;
  place.patience_option =
      command
          .add_option("--patience", place.patience_s,
                      "Seconds to try a coordinator that does not answer; one that was lost in between: 60")
          .between(0.0, 3600.0)
          .shows_default();
  add_client_security_options(command, invocation, place.security);
  return coordinator;
}

}  // namespace

bool Place::remote() const {
  const bool has_folder = static_cast<bool>(workdir_option);
  return coordinator_option.given() || !has_folder || (!coordinator.empty() && !workdir_option.given());
}

std::shared_ptr<Place> add_place_options(Command command, const Invocation& invocation) {
  const auto place = std::make_shared<Place>();
  place->coordinator = invocation.coordinator;
  const Option workdir = add_workdir_option(command, place->workdir);
  const Option coordinator =
      add_client_options(command, invocation, *place,
                         "HOST:PORT of a coordinator, instead of the work folder (default: GRIDQUANT_COORDINATOR)");
  workdir.excludes(coordinator);
  place->workdir_option = workdir;
  return place;
}

std::shared_ptr<Place> add_coordinator_options(Command command, const Invocation& invocation) {
  const auto place = std::make_shared<Place>();
  place->coordinator = invocation.coordinator.empty() ? kDefaultCoordinator : invocation.coordinator;
  add_client_options(
      command, invocation, *place,
      std::string("HOST:PORT of the coordinator (default: GRIDQUANT_COORDINATOR, else ") + kDefaultCoordinator + ")");
  return place;
}

std::unique_ptr<client::Client> connect(const Place& place) {
  client::ClientOptions options;
  options.address = place.coordinator;
  options.security = place.security;
  options.unreachable_ms = static_cast<int64_t>(place.patience_s * 1000);
  if (place.patience_option.given()) options.reconnect_ms = options.unreachable_ms;
  return std::make_unique<client::Client>(std::move(options));
}

}  // namespace gridquant::cli
