#include "net/public_site.h"

#include <gtest/gtest.h>

namespace tertulia {
namespace {

TEST(Origin, OwnOriginIsTheHostWhateverTheScheme) {
  struct {
    const char *origin, *host;
    bool allowed;
  } const rows[] = {
      {"", "a", true},  // no browser
      {"http://a", "a", true},
      {"https://a", "a", true},
      {"https://A.Example", "a.example", true},
      {"http://a:8080", "a:8080", true},
      {"http://a", "a:80", true},
      {"https://a", "a:443", true},
      {"https://a:443", "a", true},
      {"http://[::1]:8080", "[::1]:8080", true},
      {"null", "null", false},
      {"NULL", "a", false},
      {"http://b", "a", false},
      {"http://a.b", "a", false},
      {"http://ba", "a", false},
      {"http://a:8081", "a:8080", false},
      {"http://a", "a:443", false},
      {"https://a", "a:80", false},
      {"http://a/", "a", false},
      {"http://a@b", "b", false},
      {"http://", "", false},
      {"a", "a", false},
      {"file://", "a", false},
      {"ws://a", "a", false},
      {"chrome-extension://a", "a", false},
      {"http://a, http://b", "a", false},
      {"http://a http://b", "a", false},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(origin_allowed(row.origin, row.host, {}), row.allowed) << row.origin << " | " << row.host;
  }
}

TEST(Origin, TheListAllowsWhatItNamesAndAStarEverythingButNull) {
  const OriginPolicy listed{{"https://chat.example", "http://localhost:3000"}, false};
  EXPECT_TRUE(origin_allowed("https://chat.example", "a", listed));
  EXPECT_TRUE(origin_allowed("https://Chat.Example", "a", listed));
  EXPECT_TRUE(origin_allowed("http://localhost:3000", "a", listed));
  EXPECT_FALSE(origin_allowed("http://chat.example", "a", listed)) << "in the list the scheme counts";
  EXPECT_FALSE(origin_allowed("http://localhost", "a", listed));
  EXPECT_FALSE(origin_allowed("null", "a", listed));
  const OriginPolicy everybody{{"*"}, false};
  EXPECT_TRUE(origin_allowed("https://anywhere", "a", everybody));
  EXPECT_FALSE(origin_allowed("null", "a", everybody));
}

TEST(Origin, MayBeRequired) {
  EXPECT_FALSE(origin_allowed("", "a", {{}, true}));
  EXPECT_TRUE(origin_allowed("http://a", "a", {{}, true}));
}

const Asset kAssets[] = {
    {"/index.html", "text/html; charset=utf-8", "\"i1\"", "<!doctype html>"},
    {"/chat.js", "text/javascript; charset=utf-8", "\"c1\"", "export {}"},
};

HttpRequest request(std::string method, std::string path) {
  HttpRequest request;
  request.method = std::move(method);
  request.path = std::move(path);
  request.fields = {{"host", "a"}};
  return request;
}

TEST(PublicSite, ServesThePageWithAStrictPolicy) {
  PublicSite site({}, kAssets);
  const HttpAnswer page = site.answer(request("GET", "/"));
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.body, "<!doctype html>");
  EXPECT_EQ(page.content_type, "text/html; charset=utf-8");
  EXPECT_NE(page.fields.find("Content-Security-Policy: default-src 'none'; script-src 'self';"), std::string::npos);
  EXPECT_EQ(page.fields.find("unsafe"), std::string::npos);
  EXPECT_EQ(site.answer(request("GET", "/chat.js")).body, "export {}");
  EXPECT_EQ(site.answer(request("HEAD", "/")).status, 200);
}

TEST(PublicSite, ABrowserThatHasTheFileIsToldSo) {
  PublicSite site({}, kAssets);
  HttpRequest again = request("GET", "/chat.js");
  again.fields.emplace_back("if-none-match", "W/\"x\", \"c1\"");
  EXPECT_EQ(site.answer(again).status, 304);
  again.fields.back().second = "\"c2\"";
  EXPECT_EQ(site.answer(again).status, 200);
}

TEST(PublicSite, WithoutAPageSaysWhatThisIs) {
  PublicSite site({}, {});
  const HttpAnswer answer = site.answer(request("GET", "/"));
  EXPECT_EQ(answer.status, 200);
  EXPECT_NE(answer.text.find("Tertulia"), std::string::npos);
}

TEST(PublicSite, WhatIsNotThereIsSaidInOneSentence) {
  PublicSite site({}, kAssets);
  for (const char* path : {"/nothing", "/images", "/images/uuid", "/files", "/files/uuid", "/CHAT", "/chat/",
                           "/index.html/", "/../etc/passwd", "//", "/%2e"}) {
    for (const char* method : {"GET", "POST"}) {
      const HttpAnswer answer = site.answer(request(method, path));
      EXPECT_EQ(answer.status, 404) << path;
      EXPECT_TRUE(answer.text.ends_with(".\n")) << path;
    }
  }
  EXPECT_EQ(site.answer(request("POST", "/")).status, 405);
  EXPECT_NE(site.answer(request("DELETE", "/chat.js")).fields.find("Allow: GET, HEAD"), std::string::npos);
}

}  // namespace
}  // namespace tertulia
