// Where a verb works: on the work folder of this machine, or on a coordinator.
//
// --coordinator HOST:PORT means a coordinator; so does GRIDQUANT_COORDINATOR, unless --workdir is given. Verbs that
// only a coordinator has use kDefaultCoordinator when nothing is named.
#pragma once

#include <memory>
#include <string>

#include "cli/arguments.h"
#include "coordinator/client/client.h"

namespace gridquant::cli {

struct Invocation;

inline constexpr const char* kDefaultCoordinator = "127.0.0.1:7733";

struct Place {
  std::string workdir;      // as given
  std::string coordinator;  // as given, or of the environment; "": none
  auth::ClientSecurity security{};
  double patience_s = 5;  // how long a coordinator that does not answer is tried
  Option workdir_option, coordinator_option, patience_option;

  bool remote() const;
};

// --workdir, --coordinator, --patience, and what proves who calls.
std::shared_ptr<Place> add_place_options(Command command, const Invocation& invocation);
// The same without --workdir: the verb has no other place.
std::shared_ptr<Place> add_coordinator_options(Command command, const Invocation& invocation);

// Waits for nothing: the first call finds out whether somebody is there.
std::unique_ptr<client::Client> connect(const Place& place);

}  // namespace gridquant::cli
