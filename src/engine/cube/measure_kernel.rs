use burn::backend::cubecl::dtype_to_storage_type;
use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::address::address_type;
use super::grid::Grid;
use super::known_labels::{KnownLabels, State};
use super::together::{Joining, together};

/// The differences of all samples from their centers, what their squares add up to, and which of the samples count.
///
/// One walk over the features and their centers. A sample that does not count has a row of zeros and weight zero, and
/// a label that is not a class is never looked up.
#[cube(launch, address_type = "dynamic")]
#[allow(
    clippy::collapsible_if,
    reason = "one condition is decided when the kernel is compiled, the other when it runs"
)]
fn measure_kernel<F: Float, L: Int, I: Int>(
    features: &Tensor<F>,
    centers: &Tensor<F>,
    labels: &Tensor<L>,
    weights: &Tensor<F>,
    offsets: &mut Tensor<F>,
    numbers: &mut Tensor<F>,
    marks: &mut Tensor<I>,
    last: InputScalar,
    ignored: InputScalar,
    #[comptime] ignoring: bool,
    #[comptime] width: usize,
    #[comptime] rows: usize,
    #[define(F, L, I)] _types: [ElemType; 3],
) {
    let lane = UNIT_POS_X as usize;
    let sample = CUBE_POS * rows + UNIT_POS_Y as usize;
    let batch_size = labels.shape(0);
    let feature_dim = features.shape(1);
    let row = sample * feature_dim;

    let mut state = State::GOOD.runtime();
    let mut class = 0usize;
    if sample < batch_size {
        let label = labels[sample];
        if label < L::from_int(0) || label > last.get::<L>() {
            state = State::BAD_LABEL.runtime();
        } else {
            class = usize::cast_from(label);
        }
        if ignoring {
            if label == ignored.get::<L>() {
                state = State::IGNORED.runtime();
            }
        }
    }
    let center = class * feature_dim;

    // The sum of the squares in this unit's columns, -1 once a difference is not finite, or -2 once a
    // feature is not. A sum of finite squares may still be infinite.
    let mut sum = F::new(0.0);
    if sample < batch_size && state == State::GOOD {
        let mut column = lane;
        while column < feature_dim {
            let feature = features[row + column];
            let offset = feature - centers[center + column];
            offsets[row + column] = offset;
            if !is_finite::<F>(feature) {
                sum = F::new(-2.0);
            } else if !is_finite::<F>(offset) {
                sum = min(sum, F::new(-1.0));
            } else if sum >= F::new(0.0) {
                sum += offset * offset;
            }
            column += width;
        }
    }
    let mut sums = Shared::<[F]>::new_slice(comptime![width * rows]);
    let square = together::<F>(sum, &mut sums, Joining::SumOrMark, width);

    if sample < batch_size {
        let weight = weights[sample];
        // Two numbers whose product is half the squared distance.
        let mut one = F::new(1.0);
        let mut other = square * F::new(0.5);
        if state == State::GOOD {
            if square == F::new(-2.0) {
                state = State::BAD_FEATURES.runtime();
            } else if !is_finite::<F>(weight) || weight < F::new(0.0) {
                state = State::BAD_WEIGHT.runtime();
            } else if square < F::new(0.0) {
                state = State::BAD_DISTANCE.runtime();
            } else if !is_finite::<F>(square) {
                // So far away that the square overflows, but perhaps not the loss. This is rare, so that
                // every unit of the row may compute it.
                let mut largest = F::new(0.0);
                for column in 0..feature_dim {
                    let offset = features[row + column] - centers[center + column];
                    largest = max(largest, offset.abs());
                }
                let mut scaled = F::new(0.0);
                for column in 0..feature_dim {
                    let offset = (features[row + column] - centers[center + column]) / largest;
                    scaled += offset * offset;
                }
                other = largest * (scaled * F::new(0.5)).sqrt();
                one = other;
                if !is_finite::<F>(largest * scaled.sqrt()) {
                    state = State::BAD_DISTANCE.runtime();
                }
            }
        }
        if state != State::GOOD {
            let mut column = lane;
            while column < feature_dim {
                offsets[row + column] = F::new(0.0);
                column += width;
            }
        }
        if lane == 0 {
            let mut kept = weight;
            if state != State::GOOD {
                one = F::new(1.0);
                other = F::new(0.0);
                kept = F::new(0.0);
            }
            numbers[sample] = one;
            numbers[batch_size + sample] = other;
            numbers[2 * batch_size + sample] = kept;
            marks[sample] = I::cast_from(class);
            marks[batch_size + sample] = I::cast_from(state);
        }
    }
}

#[cube]
pub(super) fn is_finite<F: Float>(value: F) -> bool {
    let is_nan = bool::cast_from(value.is_nan());
    let is_inf = bool::cast_from(value.is_inf());
    !is_nan && !is_inf
}

/// Differences, numbers and marks, as `measure` describes them, from `[batch_size, feature_dim]`, `[num_classes, feature_dim]` and twice
/// `[batch_size]`.
pub(super) fn measure(
    features: CubeTensor,
    centers: CubeTensor,
    labels: CubeTensor,
    weights: CubeTensor,
    known: KnownLabels,
    index: DType,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let [features, centers, labels, weights] =
        [features, centers, labels, weights].map(into_contiguous);
    let [batch_size, feature_dim] = features.meta.shape().dims();
    let (client, device) = (features.client.clone(), features.device.clone());
    let empty = |shape: [usize; 2], dtype| {
        empty_device_dtype(client.clone(), device.clone(), Shape::new(shape), dtype)
    };
    let offsets = empty([batch_size, feature_dim], features.dtype);
    let numbers = empty([3, batch_size], features.dtype);
    let marks = empty([2, batch_size], index);
    let types = [features.dtype, labels.dtype, index].map(dtype_to_storage_type);
    let grid = Grid::new(&client, batch_size, feature_dim);
    measure_kernel::launch(
        &client,
        grid.count,
        grid.dim,
        address_type(&[&features, &centers, &offsets]),
        features.into_tensor_arg(),
        centers.into_tensor_arg(),
        labels.into_tensor_arg(),
        weights.into_tensor_arg(),
        offsets.clone().into_tensor_arg(),
        numbers.clone().into_tensor_arg(),
        marks.clone().into_tensor_arg(),
        InputScalar::new(known.last, types[1]),
        InputScalar::new(known.ignored.unwrap_or(0), types[1]),
        known.ignored.is_some(),
        grid.width,
        grid.rows,
        types,
    );
    (offsets, numbers, marks)
}
