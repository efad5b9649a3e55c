// Promises broken on purpose, and the seed with which the simulation notices.
#pragma once

namespace tertulia::simulation {

// Each must be found. 0: all were.
int run_planted();

}  // namespace tertulia::simulation
