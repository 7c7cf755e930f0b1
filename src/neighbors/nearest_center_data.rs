//! What is stored of a nearest-center classifier.

use burn::tensor::{DType, TensorData};
use serde::{Deserialize, Serialize};

/// All that makes up a [`NearestCenter`](crate::NearestCenter), to be stored in any format of serde.
///
/// [`NearestCenter::to_data`](crate::NearestCenter::to_data) makes it,
/// [`NearestCenter::from_data`](crate::NearestCenter::from_data) takes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearestCenterData {
    /// `[num_classes * sub_centers, feature_dim]`: rows of unit length if directions are compared.
    pub(crate) centers: TensorData,
    /// How many centers a class has.
    pub(crate) sub_centers: usize,
    /// The float type of the classifier's centers.
    pub(crate) dtype: DType,
    /// Whether directions are compared, not positions.
    pub(crate) directions: bool,
}
