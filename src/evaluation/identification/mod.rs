//! Identification: which identity of a gallery is a probe, if any?

mod gallery;
mod probes;
mod rank_k;
mod tpir_at_fpir;

pub use probes::{Identification, MatedProbe};
pub use tpir_at_fpir::TpirAtFpir;
