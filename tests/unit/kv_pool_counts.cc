// If these fail, two sequences write to one page, or pages are lost for ever.

#include <set>

#include <catch2/catch_test_macros.hpp>

#include "engine/kv_pool.h"

using namespace fathom;

TEST_CASE("kv pool: every page once, then none", "[kv_pool]") {
    KvPool pool(5);
    std::set<int32_t> pages;
    for (int i = 0; i < 5; ++i) pages.insert(pool.reserve());
    CHECK(pages == std::set<int32_t>{0, 1, 2, 3, 4});
    CHECK(pool.reserve() == -1);
    CHECK(pool.n_free() == 0);
    CHECK(pool.n_used() == 5);
    pool.release(3);
    CHECK(pool.reserve() == 3);
    CHECK(pool.reserve() == -1);
}

TEST_CASE("kv pool: a page is free when its last reference goes", "[kv_pool]") {
    KvPool pool(2);
    const int32_t page = pool.reserve();
    pool.retain(page);
    pool.retain(page);
    CHECK(pool.references(page) == 3);
    pool.release(page);
    pool.release(page);
    CHECK(pool.n_free() == 1);
    pool.release(page);
    CHECK(pool.references(page) == 0);
    CHECK(pool.n_free() == 2);
}
