#include "net/http_guard.h"

#include <gtest/gtest.h>

#include <string>

namespace tertulia {
namespace {

const HttpHeadLimits kLimits;

std::string fields(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += "X-" + std::to_string(i) + ": y\r\n";
  return text;
}

struct Row {
  const char* finding;
  std::string head;
  int status;  // 0: passes
};

const Row kRows[] = {
    {"a plain request passes", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0},
    {"HTTP/1.0 needs no Host", "GET / HTTP/1.0\r\n\r\n", 0},
    {"a value may be empty", "GET / HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n", 0},
    {"a value may hold tabs and colons", "GET / HTTP/1.1\r\nHost: a:80\r\nX: a\tb:c\r\n\r\n", 0},
    {"an IPv6 host passes", "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", 0},
    {"one length passes", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", 0},
    {"chunked alone passes", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", 0},
    {"100 fields pass", "GET / HTTP/1.1\r\nHost: a\r\n" + fields(99) + "\r\n", 0},

    {"101 fields", "GET / HTTP/1.1\r\nHost: a\r\n" + fields(100) + "\r\n", 431},
    {"a head of 8 KiB and a byte", "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(8192, 'x') + "\r\n\r\n", 431},
    {"a path of 2 KiB and a byte", "GET /" + std::string(2048, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
    {"a path of 8 KiB", "GET /" + std::string(8192, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},

    {"length and encoding, in this order",
     "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"length and encoding, the other way round",
     "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400},
    {"another encoding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400},
    {"a list of encodings", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400},
    {"chunked twice", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", 400},
    {"two encodings", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
     400},
    {"chunked with a parameter", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;x=1\r\n\r\n", 400},
    {"chunked in quotes", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", 400},
    {"an empty encoding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", 400},
    {"an encoding in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"a space before the colon", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n", 400},
    {"two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400},
    {"two equal lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 400},
    {"a list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", 400},
    {"a length with a sign", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", 400},
    {"a negative length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400},
    {"a hexadecimal length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n", 400},
    {"an empty length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400},
    {"a length beyond 64 bits", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400},
    {"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
    {"two equal hosts", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400},
    {"no host", "GET / HTTP/1.1\r\nX: y\r\n\r\n", 400},
    {"an empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
    {"a host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
    {"a host with a user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
    {"two hosts in one", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400},

    {"a bare LF behind the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
    {"a bare LF behind a field", "GET / HTTP/1.1\r\nHost: a\n\r\n", 400},
    {"bare LFs only", "GET / HTTP/1.1\nHost: a\n\n", 400},
    {"a bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400},
    {"two CR before LF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400},
    {"a field that goes on in the next line", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400},
    {"a folded encoding", "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", 400},
    {"a first field that is folded", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
    {"NUL in a value", std::string("GET / HTTP/1.1\r\nHost: a\r\nX: a") + '\0' + "b\r\n\r\n", 400},
    {"DEL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x7f\r\n\r\n", 400},
    {"ESC in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x1b[31m\r\n\r\n", 400},
    {"UTF-8 in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \xc3\xa9\r\n\r\n", 400},
    {"UTF-8 in the path", "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"a byte above 127 in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\xff: y\r\n\r\n", 400},
    {"a name with a space", "GET / HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n", 400},
    {"a line without a colon", "GET / HTTP/1.1\r\nHost: a\r\nXY\r\n\r\n", 400},
    {"an empty name", "GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n", 400},

    {"an empty line first", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"a space before the method", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"two spaces behind the method", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"two spaces before the version", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"a tab in the request line", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"a space behind the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
    {"no version", "GET /\r\nHost: a\r\n\r\n", 400},
    {"a version in small letters", "GET / http/1.1\r\nHost: a\r\n\r\n", 400},
    {"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505},
    {"HTTP/2.0", "PRI * HTTP/2.0\r\n\r\n", 400},
    {"HTTP/0.9 with a version", "GET / HTTP/0.9\r\n\r\n", 505},
    {"a method that is no token", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"an endless method", std::string(100, 'A') + " / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"an absolute path with a host", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"a star", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"a fragment", "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"TLS", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11), 400},
};

TEST(HttpGuard, EveryHeadGetsItsVerdict) {
  for (const Row& row : kRows) {
    EXPECT_EQ(guard_http_head(row.head, kLimits).status, row.status) << row.finding;
  }
}

TEST(HttpGuard, BytesThatArriveOneByOneGetTheSameVerdict) {
  for (const Row& row : kRows) {
    HttpHeadScanner scanner;
    HttpRefusal refusal;
    size_t head_bytes = 0, arrived = 0;
    while (head_bytes == 0 && refusal.status == 0 && arrived < row.head.size()) {
      head_bytes = scanner.scan(std::string_view(row.head).substr(0, ++arrived), kLimits, refusal);
    }
    if (refusal.status == 0 && head_bytes > 0) {
      refusal = guard_http_head(std::string_view(row.head).substr(0, head_bytes), kLimits);
    }
    EXPECT_EQ(refusal.status, row.status) << row.finding;
  }
}

TEST(HttpGuard, WhatFollowsAHeadIsNotLookedAt) {
  const std::string head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  HttpHeadScanner scanner;
  HttpRefusal refusal;
  EXPECT_EQ(scanner.scan(head + std::string("\0\xff\n", 3), kLimits, refusal), head.size());
  EXPECT_EQ(refusal.status, 0);
}

TEST(HttpGuard, AnUnfinishedHeadBeyondTheLimitIsRefusedWithoutItsEnd) {
  HttpHeadScanner scanner;
  HttpRefusal refusal;
  std::string text = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
  text.append(8192, 'x');
  EXPECT_EQ(scanner.scan(text, kLimits, refusal), 0u);
  EXPECT_EQ(refusal.status, 431);
}

}  // namespace
}  // namespace tertulia
