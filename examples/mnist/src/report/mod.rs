//! The report: one page that holds all there is to see of a run or a comparison, and loads nothing.

mod page;

pub use page::{Part, write_report};
