use burn::backend::cubecl::dtype_to_storage_type;
use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::address::address_type;
use super::grid::Grid;
use super::together::{Joining, together};
use crate::engine::softmax::Arithmetic;

/// The angles between features and the vectors of their classes, computed in the type `W`; see
/// `by_operations` of `engine/softmax/angles.rs`, which is what this computes, for the reasons.
///
/// One walk over a row for each number that the next walk needs. The units that share a row add what they have
/// found in `shared`.
#[cube(launch, address_type = "dynamic")]
fn angles_kernel<F: Float, W: Float, I: Int>(
    features: &Tensor<F>,
    centers: &Tensor<F>,
    classes: &Tensor<I>,
    by_features: &mut Tensor<F>,
    by_centers: &mut Tensor<F>,
    numbers: &mut Tensor<F>,
    closest: &mut Tensor<I>,
    usual: InputScalar,
    power: InputScalar,
    collinear: InputScalar,
    zero: u32,
    #[comptime] sub_centers: usize,
    #[comptime] splits: bool,
    #[comptime] width: usize,
    #[comptime] rows: usize,
    #[define(F, W, I)] _types: [ElemType; 3],
) {
    let lane = UNIT_POS_X as usize;
    let sample = CUBE_POS * rows + UNIT_POS_Y as usize;
    let batch_size = classes.shape(0);
    let feature_dim = features.shape(1);
    let row = sample * feature_dim;
    let usual = usual.get::<W>();
    let power = power.get::<W>();
    // Every unit must reach every `sync_cube`: those beyond the batch walk over no columns.
    let mut end = 0usize;
    let mut first = 0usize;
    if sample < batch_size {
        end = feature_dim;
        first = usize::cast_from(classes[sample]) * sub_centers;
    }
    let mut shared = Shared::<[W]>::new_slice(comptime![width * rows]);

    let largest_x = largest_entry::<F, W>(features, row, end, width);
    let largest_x = together::<W>(largest_x, &mut shared, Joining::Largest, width);
    let factor_x = factor::<W>(largest_x, usual, power);
    let mut square_x = W::new(0.0);
    let mut column = lane;
    while column < end {
        let x = W::cast_from(features[row + column]) * factor_x;
        square_x += x * x;
        column += width;
    }
    let square_x = together::<W>(square_x, &mut shared, Joining::Sum, width);
    let length_x = one_for_zero::<W>(square_x.sqrt());

    // The sub-center with the largest cosine, the first of several.
    let mut best = first;
    let mut cosine = W::new(0.0);
    let mut dot = W::new(0.0);
    let mut length_w = W::new(1.0);
    let mut factor_w = W::new(1.0);
    let mut largest_w = W::new(0.0);
    for sub_center in 0..sub_centers {
        let center = (first + sub_center) * feature_dim;
        let largest = largest_entry::<F, W>(centers, center, end, width);
        let largest = together::<W>(largest, &mut shared, Joining::Largest, width);
        let factor = factor::<W>(largest, usual, power);
        let mut square = W::new(0.0);
        let mut product = W::new(0.0);
        let mut column = lane;
        while column < end {
            let x = W::cast_from(features[row + column]) * factor_x;
            let w = W::cast_from(centers[center + column]) * factor;
            square += w * w;
            product += x * w;
            column += width;
        }
        let square = together::<W>(square, &mut shared, Joining::Sum, width);
        let product = together::<W>(product, &mut shared, Joining::Sum, width);
        let length = one_for_zero::<W>(square.sqrt());
        let found = product / (length_x * length);
        // One that is not a number is kept only if all are, and is seen then.
        let is_none = bool::cast_from(cosine.is_nan());
        if sub_center == 0 || found > cosine || is_none {
            best = first + sub_center;
            cosine = found;
            dot = product;
            length_w = length;
            factor_w = factor;
            largest_w = largest;
        }
    }
    let center = best * feature_dim;

    // How much of one vector lies along the other, and how much is left of it after that is taken away.
    let square_x = length_x * length_x;
    let square_w = length_w * length_w;
    let along_x = dot / square_x;
    let along_w = dot / square_w;
    let mut rest_x = W::new(0.0);
    let mut rest_w = W::new(0.0);
    let mut column = lane;
    while column < end {
        let x = W::cast_from(features[row + column]) * factor_x;
        let w = W::cast_from(centers[center + column]) * factor_w;
        rest_x += less_multiple::<W>(w, along_x, x, zero, splits) * x;
        rest_w += less_multiple::<W>(x, along_w, w, zero, splits) * w;
        column += width;
    }
    let again_x = together::<W>(rest_x, &mut shared, Joining::Sum, width) / square_x;
    let again_w = together::<W>(rest_w, &mut shared, Joining::Sum, width) / square_w;

    let mut across_w = W::new(0.0);
    let mut across_x = W::new(0.0);
    let mut column = lane;
    while column < end {
        let x = W::cast_from(features[row + column]) * factor_x;
        let w = W::cast_from(centers[center + column]) * factor_w;
        let one = less_multiple::<W>(w, along_x, x, zero, splits);
        let other = less_multiple::<W>(x, along_w, w, zero, splits);
        let one = less_multiple::<W>(one, again_x, x, zero, splits);
        let other = less_multiple::<W>(other, again_w, w, zero, splits);
        across_w += one * one;
        across_x += other * other;
        column += width;
    }
    let across_w = together::<W>(across_w, &mut shared, Joining::Sum, width).sqrt();
    let across_x = together::<W>(across_x, &mut shared, Joining::Sum, width).sqrt();

    let is_zero = largest_x == W::new(0.0) || largest_w == W::new(0.0);
    let mut sine = across_w / length_w;
    if is_zero {
        sine = W::new(1.0);
        cosine = W::new(0.0);
    }
    let none = is_zero || sine <= collinear.get::<W>();
    let divisor_x = one_for_zero::<W>(across_w) * length_x;
    let divisor_w = one_for_zero::<W>(across_x) * length_w;
    let mut column = lane;
    while column < end {
        let mut one = W::new(0.0);
        let mut other = W::new(0.0);
        if !none {
            let x = W::cast_from(features[row + column]) * factor_x;
            let w = W::cast_from(centers[center + column]) * factor_w;
            one = less_multiple::<W>(w, along_x, x, zero, splits);
            other = less_multiple::<W>(x, along_w, w, zero, splits);
            one = less_multiple::<W>(one, again_x, x, zero, splits) / divisor_x * factor_x;
            other = less_multiple::<W>(other, again_w, w, zero, splits) / divisor_w * factor_w;
        }
        by_features[row + column] = F::cast_from(one);
        by_centers[row + column] = F::cast_from(other);
        column += width;
    }
    if sample < batch_size && lane == 0 {
        let mut length = W::new(0.0);
        if largest_x != W::new(0.0) {
            length = length_x / factor_x;
        }
        // In the type of the features: not every device that computes in `f64` has functions of angles in it.
        let cosine = F::cast_from(cosine);
        let sine = F::cast_from(sine);
        numbers[sample] = sine.atan2(cosine);
        numbers[batch_size + sample] = cosine;
        numbers[2 * batch_size + sample] = sine;
        numbers[3 * batch_size + sample] = F::cast_from(length);
        closest[sample] = I::cast_from(best);
    }
}

/// The largest absolute entry among every `width`-th column of a row, from `start` on.
#[cube]
fn largest_entry<F: Float, W: Float>(
    rows: &Tensor<F>,
    start: usize,
    end: usize,
    #[comptime] width: usize,
) -> W {
    let mut largest = W::new(0.0);
    let mut column = UNIT_POS_X as usize;
    while column < end {
        largest = max(largest, W::cast_from(rows[start + column]).abs());
        column += width;
    }
    largest
}

/// What a row is multiplied by, a power of two, so that its squares neither overflow nor vanish.
#[cube]
fn factor<W: Float>(largest: W, usual: W, power: W) -> W {
    let mut factor = W::new(1.0);
    if largest > usual {
        factor = W::new(1.0) / power;
    } else if largest < W::new(1.0) / usual {
        factor = power;
    }
    factor
}

#[cube]
fn one_for_zero<W: Float>(value: W) -> W {
    let mut divisor = value;
    if value == W::new(0.0) {
        divisor = W::new(1.0);
    }
    divisor
}

/// A value less a multiple of another one, as if it were rounded but once: the terms nearly cancel where rows are
/// nearly collinear.
///
/// In `f64`, values that come from `f32` leave enough digits. In `f32`, both factors are split into halves of their
/// digits, whose products are exact. Drivers put such sums together again (`a b + a c` is `a (b + c)`, but for the
/// rounding), unless they cannot see what is added: `zero` is known when the kernel runs.
#[cube]
fn less_multiple<W: Float>(
    value: W,
    multiple: W,
    other: W,
    zero: u32,
    #[comptime] splits: bool,
) -> W {
    if splits {
        let high = masked::<W>(multiple, UPPER_HALF);
        let low = multiple - high;
        let other_high = masked::<W>(other, UPPER_HALF);
        let other_low = other - other_high;
        let seen = ALL ^ zero;
        value
            - masked::<W>(other_high * high, seen)
            - masked::<W>(other_high * low, seen)
            - masked::<W>(other_low * high, seen)
            - masked::<W>(other_low * low, seen)
    } else {
        value - other * multiple
    }
}

/// All bits of a number of type `f32`.
const ALL: u32 = 0xffff_ffff;

/// Its bits but for the lower half of its digits.
const UPPER_HALF: u32 = 0xffff_f000;

/// Some bits of a value of type `f32`.
#[cube]
fn masked<W: Float>(value: W, mask: u32) -> W {
    W::cast_from(f32::reinterpret(
        u32::reinterpret(f32::cast_from(value)) & mask,
    ))
}

/// How fast the angle falls with feature and class vector, twice `[batch_size, feature_dim]`; angle, cosine, sine
/// and length, `[4, batch_size]`; and the row of the class vector, `[batch_size]`.
pub(super) fn angles(
    features: CubeTensor,
    centers: CubeTensor,
    classes: CubeTensor,
    sub_centers: usize,
    arithmetic: Arithmetic,
) -> (CubeTensor, CubeTensor, CubeTensor, CubeTensor) {
    let [features, centers, classes] = [features, centers, classes].map(into_contiguous);
    let [batch_size, feature_dim] = features.meta.shape().dims();
    let (client, device) = (features.client.clone(), features.device.clone());
    let empty =
        |shape: Shape, dtype| empty_device_dtype(client.clone(), device.clone(), shape, dtype);
    let by_features = empty(features.meta.shape().clone(), features.dtype);
    let by_centers = empty(features.meta.shape().clone(), features.dtype);
    let numbers = empty(Shape::new([4, batch_size]), features.dtype);
    let closest = empty(Shape::new([batch_size]), classes.dtype);
    let types = [features.dtype, arithmetic.dtype, classes.dtype].map(dtype_to_storage_type);
    let grid = Grid::new(&client, batch_size, feature_dim);
    angles_kernel::launch(
        &client,
        grid.count,
        grid.dim,
        address_type(&[&features, &centers]),
        features.into_tensor_arg(),
        centers.into_tensor_arg(),
        classes.into_tensor_arg(),
        by_features.clone().into_tensor_arg(),
        by_centers.clone().into_tensor_arg(),
        numbers.clone().into_tensor_arg(),
        closest.clone().into_tensor_arg(),
        InputScalar::new(arithmetic.usual, types[1]),
        InputScalar::new(arithmetic.power, types[1]),
        InputScalar::new(arithmetic.collinear, types[1]),
        0,
        sub_centers,
        arithmetic.dtype != DType::F64,
        grid.width,
        grid.rows,
        types,
    );
    (by_features, by_centers, numbers, closest)
}
