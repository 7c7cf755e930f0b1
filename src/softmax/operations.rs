use std::ops::Range;

use burn::tensor::{Bool, Int, Tensor};

use super::blocks::{Blocks, Kernels, Sums, Upstream};
use super::problem::{Softmax, column};
use crate::batch::Weights;
use crate::distance::{Directions, Scaled, no_zero};
use crate::reduce::{fusion_barrier, max_dim, sum_dim, sum_then};

/// The work on a block by Burn's tensor operations.
#[derive(Debug)]
pub(super) struct Operations {
    /// The numbers of the classes, `[1, num_classes]`.
    columns: Tensor<2, Int>,
    /// The values of the target classes, `[batch_size, 1]`.
    values: Tensor<2>,
}

impl Kernels for Operations {
    fn of(softmax: &Softmax) -> Self {
        Self {
            columns: softmax.columns(),
            values: column(&softmax.target.value),
        }
    }

    fn directions(&self, rows: Tensor<2>) -> Directions {
        Scaled::of(rows).into()
    }

    fn sums(
        &self,
        softmax: &Softmax,
        cosines: Tensor<2>,
        range: &Range<usize>,
    ) -> (Tensor<2>, Sums) {
        let (cosines, _) = self.with_targets(softmax, cosines, range);
        let scores = softmax.scaled(cosines.clone());
        let largest = max_dim(scores.clone(), 1);
        let exponentials = (scores - largest.clone()).exp();
        let sums = Sums {
            log_sum: sum_then(exponentials, 1, |sum| sum.log() + largest),
            cosines: (softmax.smoothing > 0.0).then(|| sum_dim(cosines.clone(), 1)),
        };
        (cosines, sums)
    }

    fn slopes(
        &self,
        softmax: &Softmax,
        cosines: Tensor<2>,
        range: &Range<usize>,
        upstream: &Upstream,
    ) -> Tensor<2> {
        let (cosines, is_target) = self.with_targets(softmax, cosines, range);
        let scores = softmax.scaled(cosines.clone()) - upstream.log_sum.clone();
        let probabilities = scores.exp().sub_scalar(softmax.smoothing_per_class());
        let slopes = probabilities * softmax.scaled(upstream.gradient.clone());
        let is_constant = match softmax.bound {
            Some(bound) => is_target.bool_or(cosines.abs().greater_equal_elem(bound)),
            None => is_target,
        };
        slopes.mask_fill(is_constant, 0.0)
    }

    fn through_directions(&self, by_units: Tensor<2>, rows: &Directions) -> Tensor<2> {
        let Directions { units, norms } = rows.clone();
        // Burn fuses nothing with a product of matrices if a sum follows.
        let by_units = fusion_barrier(by_units);
        let along = by_units.clone() * units.clone();
        let (less_along, inverse) = sum_then(along, 1, |along| {
            let is_zero = norms.clone().equal_elem(0.0);
            let inverse = no_zero(norms).recip().mask_fill(is_zero, 0.0);
            (along.neg(), inverse)
        });
        (by_units + units * less_along) * inverse
    }
}

impl Operations {
    /// Limits cosines to the bound, and puts the values of the target classes in their places, which are the
    /// second result.
    fn with_targets(
        &self,
        softmax: &Softmax,
        cosines: Tensor<2>,
        range: &Range<usize>,
    ) -> (Tensor<2>, Tensor<2, Bool>) {
        let cosines = match softmax.bound {
            Some(bound) => cosines.clamp(-bound, bound),
            None => cosines,
        };
        let columns = self.columns.clone().narrow(1, range.start, range.len());
        let is_target = softmax.is_target(columns);
        let values = self.values.clone().expand(cosines.dims());
        (cosines.mask_where(is_target.clone(), values), is_target)
    }
}

impl Blocks<Operations> {
    /// Zeros, `[batch_size]`, with the gradients of the losses whose coefficient is not zero. Keeps a matrix of
    /// all scores.
    pub fn each_on_graph(&self, inputs: [Tensor<2>; 2], coefficients: Tensor<2>) -> Tensor<1> {
        let [features, centers] = inputs;
        let is_zero = coefficients.clone().equal_elem(0.0);
        let ones = coefficients.ones_like().mask_fill(is_zero, 0.0);
        let mut zeros = coefficients.zeros_like();
        if features.is_autodiff()
            && let [Some(gradient), _] = self.gradients_of(ones.clone(), [true, false])
        {
            zeros = zeros + sum_dim(zeros_of(features) * gradient, 1);
        }
        if centers.is_autodiff() {
            let upstream = self.upstream(ones);
            let all = 0..self.softmax.num_classes();
            let directions = self.directions_of(&all);
            let slopes = self.slopes(self.cosines(&directions), &all, &upstream);
            let changes = zeros_of(centers);
            // The projection of gradients is that of changes too.
            let turns = self
                .kernels
                .through_directions(changes.clone(), &directions);
            let turns = self.times_centers(&slopes, &turns) * self.directions.units.clone();
            let targets = changes.select(0, self.softmax.angles.rows.clone());
            let targets = sum_dim(targets * self.softmax.angles.by_centers.clone(), 1);
            let [_, slope] = self.target.clone();
            let by_angle = self.slopes_by_value(&upstream) * slope;
            zeros = zeros + sum_dim(turns, 1) + targets * by_angle;
        }
        zeros.squeeze_dim(1)
    }
}

/// The sum of the weighed losses, `[1]`, with its gradients. `inputs` are features and class vectors on the graph.
/// `gradients` gives their gradients, each if it is wanted, from that by the losses, `[batch_size, 1]`. A batch in
/// which no sample takes part passes no gradient, whatever arrives.
pub(super) fn sum_on_graph(
    inputs: [Tensor<2>; 2],
    losses: Tensor<1>,
    weights: &Weights,
    gradients: impl FnOnce(Tensor<2>, [bool; 2]) -> [Option<Tensor<2>>; 2],
) -> Tensor<1> {
    let wanted = inputs.each_ref().map(Tensor::is_autodiff);
    let weighed = weights.weigh(losses.clone());
    let gradients = gradients(weights.coefficients(&losses), wanted);
    let products = inputs.into_iter().zip(gradients);
    let products = products.filter_map(|(input, gradient)| {
        gradient.map(|gradient| (zeros_of(input) * gradient).sum())
    });
    // All sums come before what is fused with them.
    let products: Vec<_> = products.collect();
    let value = weights.reduce(weighed);
    let zero = products.into_iter().reduce(|one, other| one + other);
    let zero = zero.expect("features or class vectors are on the graph");
    fusion_barrier(match weights.all_rest() {
        Some(all_rest) => zero.mask_fill(all_rest, 0.0) + value,
        None => zero + value,
    })
}

/// Zeros that pass their gradients on to the tensor.
pub(super) fn zeros_of(tensor: Tensor<2>) -> Tensor<2> {
    tensor.clone() - tensor.without_autodiff()
}
