// A TCP connection between client and server that loses what a test wants lost. It knows HTTP/2's frames as far as to
// see where a request and where a reply begins.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace gridquant::rpc {

class Wire {
 public:
  // What becomes of a connection: cut before its first request is passed on, or before the first reply is.
  enum class Loss { kNone, kRequest, kReply };

  Wire(const std::string& server, std::vector<Loss> losses) : losses_(std::move(losses)) {
    server_port_ = std::stoi(server.substr(server.rfind(':') + 1));
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof(address);
    ::bind(listener_, reinterpret_cast<sockaddr*>(&address), size);
    ::listen(listener_, 16);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~Wire() {
    stopping_ = true;
    acceptor_.join();
    for (std::thread& thread : pumps_) thread.join();
    ::close(listener_);
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  int lost_requests() const { return lost_requests_; }
  int lost_replies() const { return lost_replies_; }

  // From now on nothing is passed on, and no end of a connection either: as when a cable is pulled.
  void freeze() { frozen_ = true; }
  // Since freeze(): which side has given up its connection.
  bool client_gave_up() const { return client_gave_up_; }
  bool server_gave_up() const { return server_gave_up_; }

 private:
  // Whole frames of one direction, as far as they have come.
  struct Side {
    int from = -1, to = -1;
    bool is_client = false;
    size_t preface = 0;  // bytes of it still to come: 24 from the client
    std::string waiting{};
  };
  static constexpr size_t kFrameHead = 9;
  static constexpr char kHeaders = 1;

  static sockaddr_in loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    return address;
  }

  void accept_all() {
    while (!stopping_) {
      pollfd wait{listener_, POLLIN, 0};
      if (::poll(&wait, 1, 20) <= 0) continue;
      const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const sockaddr_in address = loopback(server_port_);
      if (::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
        ::close(client), ::close(server);
        continue;
      }
      const Loss loss = connections_ < losses_.size() ? losses_[connections_] : Loss::kNone;
      ++connections_;
      pumps_.emplace_back([this, client, server, loss] { pump(client, server, loss); });
    }
  }

  void pump(int client, int server, Loss loss) {
    Side up{.from = client, .to = server, .is_client = true, .preface = 24}, down{.from = server, .to = client};
    bool open = true;
    while (open && !stopping_) {
      pollfd waits[] = {{up.from, POLLIN, 0}, {down.from, POLLIN, 0}};
      if (::poll(waits, 2, 20) <= 0) continue;
      if (waits[0].revents != 0) open = take(up, loss) && open;
      if (waits[1].revents != 0) open = take(down, loss) && open;
      if (frozen_ && client_gave_up_ && server_gave_up_) open = false;
      if (frozen_) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    ::close(client), ::close(server);
  }

  bool take(Side& side, Loss loss) {
    char buffer[16384];
    const ssize_t size = ::recv(side.from, buffer, sizeof(buffer), 0);
    if (size <= 0 && frozen_) {
      (side.is_client ? client_gave_up_ : server_gave_up_) = true;
      return true;
    }
    if (size <= 0) return false;
    if (frozen_) return true;
    side.waiting.append(buffer, static_cast<size_t>(size));
    const size_t preface = std::min(side.preface, side.waiting.size());
    if (preface > 0 && !pass(side, preface)) return false;
    side.preface -= preface;
    while (side.preface == 0 && side.waiting.size() >= kFrameHead) {
      const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<unsigned char>(side.waiting[i])); };
      const size_t length = kFrameHead + (byte(0) << 16 | byte(1) << 8 | byte(2));
      if (side.waiting[3] == kHeaders && side.is_client && loss == Loss::kRequest) return ++lost_requests_, false;
      if (side.waiting[3] == kHeaders && !side.is_client && loss == Loss::kReply) return ++lost_replies_, false;
      if (side.waiting.size() < length) break;
      if (!pass(side, length)) return false;
    }
    return true;
  }

  static bool pass(Side& side, size_t size) {
    const bool sent = ::send(side.to, side.waiting.data(), size, MSG_NOSIGNAL) == static_cast<ssize_t>(size);
    side.waiting.erase(0, size);
    return sent;
  }

  const std::vector<Loss> losses_;
  int listener_ = -1, port_ = 0, server_port_ = 0;
  size_t connections_ = 0;
  std::atomic<int> lost_requests_ = 0, lost_replies_ = 0;
  std::atomic<bool> stopping_ = false, frozen_ = false, client_gave_up_ = false, server_gave_up_ = false;
  std::thread acceptor_;
  std::vector<std::thread> pumps_;
};

}  // namespace gridquant::rpc
