//! Losses over proxies: trained vectors of the classes that stand in for samples, so that no pairs or
//! triplets of samples are needed.

mod error;
mod methods;
mod proxies;
mod proxy_anchor;
mod proxy_nca;
mod scores;
mod soft_triple;
mod start;

pub use error::ProxyError;
pub use proxy_anchor::{ProxyAnchor, ProxyAnchorConfig};
pub use proxy_nca::{Denominator, ProxyNca, ProxyNcaConfig};
pub use soft_triple::{SoftTriple, SoftTripleConfig};
