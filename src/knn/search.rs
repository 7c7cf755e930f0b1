//! Exact search for the k nearest references.
//!
//! Each way of searching only says where to look. Order, ties and zero distances come from direct differences in `f64`
//! alone, so that all give the same answers:
//!
//! ```text
//! tree     few columns                           a k-d tree
//! product  processor                             f32 products, looked through in the cache
//! blocks   any other device                      products on the device, smallest of each block read back
//! ```

use super::blocks::Blocks;
use super::error::KnnError;
use super::metric::KnnMetric;
use super::nearest::Neighbor;
use super::product::Product;
use super::rows::{Rows, check_device};
use super::tree::Tree;
use alloc::vec::Vec;
use burn::backend::DispatchDevice;
use burn::tensor::{Device, Tensor};

/// Pairs of query and reference whose keys are held at one time, unless the caller says otherwise.
pub(crate) const DEFAULT_MAX_PAIRS: usize = 1 << 20;

/// References made ready for being searched.
#[derive(Clone)]
pub(crate) struct Search {
    metric: KnnMetric,
    k: usize,
    /// `[num_references, feature_dim]`
    shape: [usize; 2],
    device: Device,
    method: Method,
}

#[derive(Clone)]
enum Method {
    Tree(Tree),
    Product(Product),
    Blocks(Blocks),
}

impl Search {
    /// Prepares a search for the `k` nearest, `k` in `1..=references.len()`.
    ///
    /// `order` names every reference once and changes no answer. Where neighbors in it lie near each other, fewer
    /// references have to be looked at.
    pub(crate) fn new(
        references: Rows,
        order: Vec<usize>,
        metric: KnnMetric,
        k: usize,
        max_pairs: usize,
        device: &Device,
    ) -> Self {
        let references = metric.prepare(references);
        let shape @ [_, columns] = references.shape();
        let method = if metric != KnnMetric::InnerProduct && columns <= Tree::MAX_COLUMNS {
            Method::Tree(Tree::new(&references, metric))
        } else if is_processor(device) {
            Method::Product(Product::new(references, metric, max_pairs, device))
        } else {
            Method::Blocks(Blocks::new(references, order, metric, k, max_pairs, device))
        };
        Self {
            metric,
            k,
            shape,
            device: device.clone(),
            method,
        }
    }

    /// The neighbors of each query in turn, `k` for each, nearest first; or what is wrong with the queries. `name` is
    /// what the caller calls the references.
    pub(crate) fn answer(
        &self,
        queries: Tensor<2>,
        name: &'static str,
    ) -> Result<Vec<Neighbor>, KnnError> {
        let queries = self.prepare(queries, name)?;
        Ok(match &self.method {
            Method::Tree(tree) => tree.nearest(&queries, self.k),
            Method::Product(product) => product.nearest(&queries, self.k),
            Method::Blocks(blocks) => blocks.nearest(&queries, self.k),
        })
    }

    /// Reads queries and brings them into the form that the metric compares.
    pub(crate) fn prepare(&self, queries: Tensor<2>, name: &'static str) -> Result<Rows, KnnError> {
        Ok(self.metric.prepare(self.read_queries(queries, name)?))
    }

    /// Reads queries that can be compared with the references.
    pub(crate) fn read_queries(
        &self,
        queries: Tensor<2>,
        name: &'static str,
    ) -> Result<Rows, KnnError> {
        check_device("queries", &queries.device(), name, &self.device)?;
        let queries_shape = queries.dims();
        if queries_shape[1] != self.shape[1] {
            return Err(KnnError::FeatureDim {
                queries: queries_shape,
                name,
                fitted: self.shape,
            });
        }
        Rows::read(queries, "queries")
    }

    /// `[num_references, feature_dim]`
    pub(crate) fn shape(&self) -> [usize; 2] {
        self.shape
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }
}

/// Whether the device is the processor itself, which multiplies whole factors and hands out results at no cost. Of a
/// device that isn't known neither is taken for granted.
fn is_processor(device: &Device) -> bool {
    match device.as_dispatch() {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) => true,
        #[cfg(feature = "ndarray")]
        DispatchDevice::NdArray(_) => true,
        _ => false,
    }
}
