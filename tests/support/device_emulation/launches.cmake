# cmake -DFROM=KERNEL.cu -DTO=KERNEL.cc -P launches.cmake: what C++ cannot parse of CUDA C++, in words that
# device_emulation.h understands. Lines stay where they are.
file(READ "${FROM}" text)
string(REGEX REPLACE "<<<" " | EmulatedGrid(" text "${text}")
string(REGEX REPLACE ">>>\\(" ")(" text "${text}")
string(REGEX REPLACE "extern __shared__ __align__\\(16\\) unsigned char ([a-z_]+)\\[\\]"
  "static unsigned char*& \\1 = tsenor::device_emulation::dynamic_shared" text "${text}")
string(REPLACE "__noinline__" "__attribute__((noinline))" text "${text}")
file(WRITE "${TO}" "#line 1 \"${FROM}\"\n${text}")
