//! Sums and maxima along a dimension, right under Burn's fusion too.

mod along;
mod apart;

pub(crate) use along::{max_dim, sum_dim};
pub(crate) use apart::apart;
