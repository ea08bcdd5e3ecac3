// Whose turn it is, where several clients wait for the same thing.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "server/clock.h"

namespace tsenor::server {

// How urgent work may be said to be. Nine values: enough to order a site's kinds of work, and few
// enough that the lowest is at the top after eight ageing times.
inline constexpr int kMinPriority = -4;
inline constexpr int kMaxPriority = 4;

// Whose work it is. Thread-compatible.
struct Origin {
  std::string client;  // who has a share
  int priority = 0;    // in [kMinPriority, kMaxPriority]
};

// The priority of work that has waited for a while: one more for each `ageing`, up to kMaxPriority.
// Without ageing (0) all work is at the top, and priorities do not count.
int AgedPriority(int priority, Duration waited, Duration ageing);

// A place in line.
struct Turn {
  int level = 0;            // AgedPriority()
  int64_t last_served = 0;  // when work of this priority was last served: FairShare::last_served()
  double tag = 0;           // FairShare::Enter()
  Time arrived = {};

  // Higher levels go first. Priorities that have aged to the same level take turns; within one, the
  // smallest tag goes first.
  bool Precedes(const Turn& other) const;
};

// Equal shares of bytes between the clients that wait, within each priority. It does what deficit
// round-robin does, with the deficits kept in order: fair queueing (Demers, Keshav, Shenker,
// SIGCOMM 1989). The present is the number of bytes that a client which always waited has had: it
// moves on by the bytes served, divided by the clients in line. Work gets a tag when it enters the
// line: the tag of its client's work before it, or the present if that is more, plus its bytes.
// Served in ascending order of tags, two clients that wait all the time are no further apart than
// the greatest work of each; a small tensor of whoever was away goes next, whatever the others have
// in line; and whoever waits is not overtaken for ever, however many come. Work of one client is
// served in order of arrival.
//
// Remembers clients only while they are in line. Thread-compatible.
class FairShare {
 public:
  // `bytes` of work enter the line; returns their tag.
  double Enter(const Origin& origin, int64_t bytes);
  // Work leaves the line: it is served.
  void Serve(const Origin& origin, int64_t bytes);
  // Work leaves the line unserved.
  void Leave(const Origin& origin);

  // A number that grows with each Serve(): that of the last one for this priority. 0: none since
  // the line of that priority was empty.
  int64_t last_served(int priority) const;

 private:
  struct Client {
    double last_tag = 0;
    int64_t in_line = 0;
  };
  // One priority that has work in line.
  struct Class {
    std::map<std::string, Client> clients;
    double present = 0;
    int64_t last_served = 0;
  };

  std::map<int, Class> classes_;
  int64_t served_ = 0;  // calls of Serve()
};

}  // namespace tsenor::server
