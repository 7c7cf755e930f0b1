//! Retrieval: how many of the nearest references have the query's label?

mod asked;
mod average_precision;
mod by_comparison;
mod by_search;
mod config;
mod evaluate;
mod map_at_r;
mod precision;
mod r_precision;
mod ranking;
mod recall;
mod reciprocal_rank;
mod relevant_ranks;
mod report;
mod set;

pub use config::RetrievalConfig;
pub use ranking::Ranking;
pub use report::{QueryRetrieval, RetrievalMeans, RetrievalReport};
pub use set::RetrievalSet;
