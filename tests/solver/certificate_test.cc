// The certificate, on answers made by hand: it must see what is wrong, not only what is right.
#include "solver/certificate.h"

#include <gtest/gtest.h>

#include <vector>

#include "solver/problem.h"

namespace tsenor {
namespace {

// A 2 x 2 block with n = 1 whose optimum is its diagonal, 3 + 4.
class CertificateTest : public testing::Test {
 protected:
  MaskCertificate Judge(std::vector<uint8_t> mask, std::vector<double> potentials) {
    Problem problem;
    problem.pattern = {1, 2};
    const Tile tile = {.weights = weights_.data(),
                       .row_stride = 2,
                       .rows = 2,
                       .columns = 2,
                       .mask = mask.data(),
                       .mask_row_stride = 1,
                       .potentials = potentials.data()};
    return Certify(problem, tile);
  }

  const std::vector<float> weights_ = {3, -1, 2, -4};
};

TEST_F(CertificateTest, TheOptimumIsProvenByMatchingPotentials) {
  const auto certificate = Judge({0b01, 0b10}, {3, 2, 0, 2});
  EXPECT_EQ(certificate.stats.value, 7);
  EXPECT_EQ(certificate.stats.bound, 7);
  EXPECT_EQ(certificate.stats.score_sum, 10);
  EXPECT_EQ(certificate.stats.kept, 2);
  EXPECT_EQ(certificate.stats.blocks, 1);
  EXPECT_EQ(certificate.stats.blocks_proven, 1);
  EXPECT_EQ(certificate.stats.blocks_short, 0);
  EXPECT_EQ(certificate.lines_over, 0);
  EXPECT_EQ(certificate.lines_under, 0);
}

TEST_F(CertificateTest, AnyPotentialsGiveABoundButNotAProof) {
  EXPECT_EQ(Judge({0b01, 0b10}, {0, 0, 0, 0}).stats.bound, 10);
  EXPECT_EQ(Judge({0b01, 0b10}, {0, 0, 0, 0}).stats.blocks_proven, 0);
  EXPECT_EQ(Judge({0b01, 0b10}, {5, 5, 5, 5}).stats.bound, 20);
  EXPECT_EQ(Judge({0b01, 0b10}, {-1, -1, -1, -1}).stats.bound, 14);  // -4 + (5 + 3 + 4 + 6)
}

TEST_F(CertificateTest, AWorseMaskIsFeasibleButNotProven) {
  const auto certificate = Judge({0b10, 0b01}, {3, 2, 0, 2});
  EXPECT_EQ(certificate.stats.value, 3);
  EXPECT_EQ(certificate.stats.blocks_proven, 0);
  EXPECT_EQ(certificate.lines_over, 0);
  EXPECT_EQ(certificate.lines_under, 0);
}

TEST_F(CertificateTest, LinesThatKeepTooManyOrTooFewAreCounted) {
  const auto over = Judge({0b11, 0b10}, {3, 2, 0, 2});
  EXPECT_EQ(over.lines_over, 2);  // row 0 and column 1
  EXPECT_EQ(over.stats.blocks_proven, 0);
  const auto under = Judge({0b01, 0b00}, {3, 2, 0, 2});
  EXPECT_EQ(under.lines_under, 2);  // row 1 and column 1
  EXPECT_EQ(under.stats.blocks_short, 1);
  EXPECT_EQ(under.stats.blocks_proven, 0);
}

TEST(CertificateEdgeTest, IncompleteBlocksMayKeepFewer) {
  // One existing entry of a 2 x 2 block: with n = 1 it need not be kept, with n = 2 it must.
  const float weight = 5;
  uint8_t mask = 0;
  const std::vector<double> potentials = {5, 0, 0, 0};
  Problem problem;
  problem.pattern = {1, 2};
  const Tile tile = {.weights = &weight,
                     .row_stride = 1,
                     .rows = 1,
                     .columns = 1,
                     .mask = &mask,
                     .mask_row_stride = 1,
                     .potentials = const_cast<double*>(potentials.data())};
  EXPECT_EQ(Certify(problem, tile).lines_under, 0);
  EXPECT_EQ(Certify(problem, tile).stats.bound, 5);
  EXPECT_EQ(Certify(problem, tile).stats.score_sum, 5);
  problem.pattern = {2, 2};
  EXPECT_EQ(Certify(problem, tile).lines_under, 2);
}

}  // namespace
}  // namespace tsenor
