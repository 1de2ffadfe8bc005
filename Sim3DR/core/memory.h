// Memory that is kept by the process. Returning it to the system and requesting it again takes longer than
// most of the work on it, because each fresh page is faulted in and cleared.
#pragma once

#include <cstddef>

namespace sim3dr {

// At least one byte, uninitialised, aligned for any type. When it is released, it is kept for the next
// request of a quarter of its size up to its size. At most 64 MiB are kept; the oldest are dropped first. Any
// thread may construct and destroy one.
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
