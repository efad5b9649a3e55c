#include "driver/process.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace tertulia::bench {
namespace {

std::string proc(int pid) {
  return "/proc/" + std::to_string(pid);
}

std::optional<int64_t> cpu_by_stat(int pid) {
  std::ifstream file(proc(pid) + "/stat");
  std::string all;
  if (!std::getline(file, all)) return std::nullopt;
  // The name in parentheses may hold anything; behind it come state and numbers, utime and stime as 12th and 13th.
  std::istringstream fields(all.substr(all.rfind(')') + 1));
  std::string skipped;
  for (int i = 0; i < 12; ++i) fields >> skipped;
  int64_t ticks = std::atoll(skipped.c_str()), system_ticks = 0;
  fields >> system_ticks;
  ticks += system_ticks;
  return ticks * (1'000'000'000 / sysconf(_SC_CLK_TCK));
}

}  // namespace

int64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

int64_t unix_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::optional<int64_t> cpu_ns(int pid) {
  std::error_code error;
  int64_t sum = 0;
  for (const auto& task : std::filesystem::directory_iterator(proc(pid) + "/task", error)) {
    std::ifstream file(task.path() / "schedstat");
    int64_t ran_ns = 0;
    if (file >> ran_ns) sum += ran_ns;
  }
  if (error) return std::nullopt;
  return sum > 0 ? std::optional(sum) : cpu_by_stat(pid);
}

int64_t own_cpu_ns() {
  timespec used{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return used.tv_sec * 1'000'000'000 + used.tv_nsec;
}

int64_t resident_bytes(int pid) {
  std::ifstream file(proc(pid) + "/statm");
  int64_t size = 0, resident = 0;
  file >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

std::map<std::string, double> metrics(const std::string& host_and_port) {
  std::map<std::string, double> all;
  const size_t colon = host_and_port.rfind(':');
  if (colon == std::string::npos) return all;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(std::atoi(host_and_port.c_str() + colon + 1)));
  inet_pton(AF_INET, host_and_port.substr(0, colon).c_str(), &address.sin_addr);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval patience{10, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  const std::string request = "GET /metrics HTTP/1.1\r\nHost: " + host_and_port + "\r\nConnection: close\r\n\r\n";
  std::string answer;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      send(fd, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size())) {
    char buffer[16 << 10];
    for (ssize_t got; (got = recv(fd, buffer, sizeof buffer, 0)) > 0;) answer.append(buffer, static_cast<size_t>(got));
  }
  close(fd);
  std::istringstream lines(answer);
  for (std::string line; std::getline(lines, line);) {
    const size_t value_at = line.rfind(' ');
    if (line.empty() || line[0] == '#' || value_at == std::string::npos || !line.starts_with("tertulia_")) continue;
    all[line.substr(0, std::min(line.find('{'), value_at))] += std::atof(line.c_str() + value_at + 1);
  }
  return all;
}

}  // namespace tertulia::bench
