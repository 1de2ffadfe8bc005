// Runs the parts of a job on separate threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

namespace sim3dr {

// Triangles, and pixels by halves, from which starting a thread costs less than it saves.
constexpr std::int64_t WORTH_A_THREAD = 16384;

// Calls work(0) .. work(parts - 1), each on its own thread, the first on that of the caller. If a thread
// cannot be started, the caller does its part. Threads are started for each job: no pool outlives a call, so
// the process may fork.
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
