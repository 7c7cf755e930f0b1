//! The accuracies on a set of samples.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The accuracies on a set of samples, by method.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    pub class: f64,
    /// `None` without centers.
    pub nearest_center: Option<f64>,
    pub neighbors: f64,
}

impl Scores {
    /// The accuracy that says which epoch is the best: that of the nearest center, for which center loss is there, and
    /// that of the class layer without it.
    pub fn decisive(&self) -> f64 {
        self.nearest_center.unwrap_or(self.class)
    }
}

impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.4}", self.class)?;
        match self.nearest_center {
            Some(nearest_center) => write!(f, " / {nearest_center:.4}"),
            None => Ok(()),
        }
    }
}
