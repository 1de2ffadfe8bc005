// Memory that stays with the process: giving it back to the system and getting it anew takes longer than most
// of what is done with it, for each fresh page has to be faulted in and cleared.
#pragma once

#include <cstddef>

namespace sim3dr {

// At least one byte, uninitialised, aligned for anything. When it goes, it is kept for the next of its size,
// or down to a quarter of it. What is kept comes to 64 MiB at most; the oldest make room for the latest. Any
// thread may make and end one.
class Memory {
public:
  explicit Memory(std::size_t bytes); // throws std::bad_alloc
  ~Memory();
  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;

  void *data() const { return data_; }

private:
  void *data_;
  std::size_t capacity_;
};

} // namespace sim3dr
