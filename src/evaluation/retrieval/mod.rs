//! Retrieval: how many of the nearest references have the query's label?

mod config;
mod ndcg;
mod ranking;
mod relevant_ranks;
mod report;

pub use config::{RetrievalConfig, RetrievalSet};
pub use ndcg::ndcg_at;
pub use ranking::Ranking;
pub use report::{QueryRetrieval, RetrievalReport, RetrievalValues};
