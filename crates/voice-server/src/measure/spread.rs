//! Percentiles, exact and in place.

use core::time::Duration;

/// How values are spread: some of their percentiles, by nearest rank. All are zero where there are no values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spread {
    /// Half of the values are not greater.
    pub p50: Duration,
    /// 90 % of the values are not greater.
    pub p90: Duration,
    /// 99 % of the values are not greater.
    pub p99: Duration,
    /// 99.9 % of the values are not greater.
    pub p99_9: Duration,
    /// The greatest value.
    pub max: Duration,
}

impl Spread {
    /// The spread of values that `unit` turns into times; their order is lost.
    pub(super) fn of(values: &mut [u32], unit: Duration) -> Self {
        let mut rest = Rest { values, before: 0 };
        let mut next = |permille| unit.saturating_mul(rest.rank(permille).unwrap_or_default());
        Self { p50: next(500), p90: next(900), p99: next(990), p99_9: next(999), max: next(1000) }
    }
}

/// Values of which so many smaller ones have been put aside.
struct Rest<'a> {
    values: &'a mut [u32],
    before: usize,
}

impl Rest<'_> {
    /// The value that so many thousandths of all values do not exceed; never asked for less than before.
    fn rank(&mut self, permille: usize) -> Option<u32> {
        let all = self.before + self.values.len();
        let index = (all * permille).div_ceil(1000).saturating_sub(1).saturating_sub(self.before);
        let values = core::mem::take(&mut self.values);
        if values.is_empty() {
            return None;
        }
        let value = *values.select_nth_unstable(index).1;
        self.before += index;
        self.values = values.get_mut(index..).unwrap_or_default();
        Some(value)
    }
}

/// The middle one of some values, the lower of two; their order is lost.
pub(super) fn median(values: &mut [i32]) -> Option<i32> {
    let index = values.len().checked_sub(1)? / 2;
    Some(*values.select_nth_unstable(index).1)
}
