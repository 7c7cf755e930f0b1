use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor};

use super::extension::Kernels;
use crate::batch::PerSample;
use crate::engine::softmax::{Angles, Arithmetic};

/// The angles between features and the vectors of their classes, in one kernel. All are without autodiff.
pub(in crate::engine) fn own_angles(
    features: Tensor<2>,
    centers: Tensor<2>,
    classes: Tensor<1, Int>,
    sub_centers: usize,
    arithmetic: Arithmetic,
) -> Angles {
    let (by_features, by_centers, numbers, rows) = Dispatch::own_angles(
        features.into_dispatch(),
        centers.into_dispatch(),
        classes.into_dispatch(),
        sub_centers,
        arithmetic,
    );
    let numbers = Tensor::<2>::from_dispatch(numbers);
    let number = |which| PerSample::Device(numbers.clone().narrow(0, which, 1).squeeze_dim(0));
    Angles {
        rows: Tensor::from_dispatch(rows),
        angle: number(0),
        cosine: number(1),
        sine: number(2),
        length: number(3),
        by_features: Tensor::from_dispatch(by_features),
        by_centers: Tensor::from_dispatch(by_centers),
    }
}
