// A database whose links are looked at (health.h), whoever uses them and for what.
//
// Thread: as the database and links it stands before. Ends: before that database and its health, after its links.
#pragma once

#include <memory>
#include <string>

#include "store/cluster/health.h"
#include "store/cluster/link.h"

namespace tertulia::cluster {

class WatchedDatabase final : public Database {
 public:
  WatchedDatabase(Database& database, Health& health) : database_(database), health_(health) {}

  [[nodiscard]] std::string prepare() override { return database_.prepare(); }
  std::string warning() const override { return database_.warning(); }
  std::unique_ptr<Link> link(Worker& worker) override;
  std::string address() const override { return database_.address(); }

 private:
  Database& database_;
  Health& health_;
};

}  // namespace tertulia::cluster
