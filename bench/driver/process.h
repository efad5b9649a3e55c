// What another process, and this one, has used: processor time and memory, from /proc and from /metrics.
//
// Thread: any; metrics() blocks for an answer, so not while something is measured.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace tertulia::bench {

int64_t monotonic_ns();
int64_t unix_ms();

// User and system time of all threads that live, in nanoseconds (/proc/PID/task/*/schedstat); where the kernel has no
// schedstat, that of /proc/PID/stat, in steps of 10 ms. Nothing if there is no such process.
std::optional<int64_t> cpu_ns(int pid);
int64_t own_cpu_ns();
// Resident, in bytes; 0 if there is no such process.
int64_t resident_bytes(int pid);

// All of Prometheus' text at http://HOST:PORT/metrics, samples of one name added up over their labels. Empty on
// failure.
std::map<std::string, double> metrics(const std::string& host_and_port);

}  // namespace tertulia::bench
