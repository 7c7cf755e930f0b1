use burn::tensor::{Int, Tensor};

use crate::batch::PerSample;

/// Features, class vectors, and how their cosines become losses.
///
/// ```text
/// z_ij = r_i * cos(x_i, w_j)    other classes; w_j the sub-center of class j with the largest cosine
/// z_iy = r_i * value_i          the own class
/// l_i  = log sum_j exp(z_ij) - (1 - smoothing) z_iy - smoothing / num_classes * sum_j z_ij
/// ```
pub(crate) struct Softmax {
    /// `[batch_size, feature_dim]`; on the autodiff graph if they receive gradients.
    pub features: Tensor<2>,
    /// `[num_classes * sub_centers, feature_dim]`, the sub-centers of a class one after the other; on
    /// the autodiff graph if they receive gradients.
    pub centers: Tensor<2>,
    /// `[batch_size]`
    pub classes: Tensor<1, Int>,
    pub sub_centers: usize,
    pub scale: Scale,
    /// Cosines of other classes are limited to `-bound..=bound`, and receive no gradient beyond.
    pub bound: Option<f64>,
    pub smoothing: f64,
    pub angles: Angles,
    pub own: OwnScores,
    /// How many bytes of scores may be kept for the backward pass.
    pub budget: usize,
}

/// What a cosine is multiplied by to become a score, `r_i`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scale {
    /// The same number for all.
    Fixed(f64),
    /// A number times the length of the feature.
    Length(f64),
}

/// How each feature lies to the vector of its class: of its sub-centers, to the closest one.
#[derive(Clone, Debug)]
pub(crate) struct Angles {
    /// The row of that vector in the centers, `[batch_size]`.
    pub rows: Tensor<1, Int>,
    /// In `0..=pi`; a right angle if one of both is zero.
    pub angle: PerSample,
    pub cosine: PerSample,
    pub sine: PerSample,
    /// The length of the feature.
    pub length: PerSample,
    /// How fast the angle falls with the feature, `[batch_size, feature_dim]`: a vector of length
    /// `1 / |x|`, or zero where feature and class vector are exactly collinear or one of them is zero.
    pub by_features: Tensor<2>,
    /// The same for the class vector: of length `1 / |w|`.
    pub by_centers: Tensor<2>,
}

/// What became of the cosines between the features and the vectors of their classes.
#[derive(Clone, Debug)]
pub(crate) struct OwnScores {
    /// In place of the cosine.
    pub value: PerSample,
    /// How fast the value falls with the angle, per radian: the sine where the value is the cosine.
    pub slope: PerSample,
}
