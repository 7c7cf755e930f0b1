use thiserror::Error;

use crate::batch::{BatchError, ClassWeightsError};
use crate::centers::CentersError;
use crate::error::SettingError;

/// Why a proxy loss could not be made, or refused a call.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// A setting is outside its range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The class weights are not one per class, or one of them is not a weight.
    #[error(transparent)]
    ClassWeights(#[from] ClassWeightsError),
    /// The batch was refused.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Given proxies were refused.
    #[error(transparent)]
    Centers(#[from] CentersError),
}
