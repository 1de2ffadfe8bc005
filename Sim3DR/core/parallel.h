// Parts of a job on threads of their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

namespace sim3dr {

// Calls work(0) .. work(parts - 1), each on its own thread, the first on the caller's. Where a thread cannot
// be had, the caller does its part. Threads are started anew for each job: no pool outlives a call, so
// nothing is there to go wrong in a process that forks.
template <class Work> void in_parallel(std::int32_t parts, const Work &work) {
  std::vector<std::thread> threads;
  threads.reserve(static_cast<std::size_t>(parts));
  std::int32_t started = 1;
  try {
    for (; started < parts; ++started)
      threads.emplace_back([&work, started] { work(started); });
  } catch (...) { // std::system_error, or no memory
  }
  work(0);
  for (; started < parts; ++started)
    work(started);
  for (std::thread &thread : threads)
    thread.join();
}

} // namespace sim3dr
