//! Values that an engine computed together with their gradient, outside of Burn's autodiff graph, and that
//! enter the graph with this gradient.

#[cfg(feature = "_kernels")]
use burn::backend::Cube;
#[cfg(feature = "flex")]
use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};

/// The values, `[1]` or `[rows]`, in the graph of `input`, `[rows, columns]`.
///
/// `gradient`, `[rows, columns]`, is the derivative of the one value by the input, or of each value
/// by its row of the input. All three must be on a backend that [`KnownGradient`] lists.
#[cfg(feature = "flex")]
pub(crate) fn with_gradient(input: Tensor<2>, values: Tensor<1>, gradient: Tensor<2>) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::known_gradient(
        input.into_dispatch(),
        values.into_dispatch(),
        gradient.into_dispatch(),
    ))
}

/// As [`with_gradient`], for a gradient that is `directions`, `[rows, columns]`, with each row multiplied by
/// its number in `coefficients`, `[rows]`. The product is made in the backward pass, together with the
/// gradient that arrives there.
#[cfg(feature = "_kernels")]
pub(crate) fn with_gradient_of_rows(
    input: Tensor<2>,
    values: Tensor<1>,
    directions: Tensor<2>,
    coefficients: Tensor<1>,
) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::known_gradient_of_rows(
        input.into_dispatch(),
        values.into_dispatch(),
        directions.into_dispatch(),
        coefficients.into_dispatch(),
    ))
}

/// The operations behind [`with_gradient`] and [`with_gradient_of_rows`].
#[backend_extension(
    Cube: cfg(feature = "_kernels"),
    Flex: cfg(feature = "flex"),
    Autodiff
)]
pub trait KnownGradient: Backend {
    #[cfg(feature = "flex")]
    fn known_gradient(
        _input: FloatTensor<Self>,
        values: FloatTensor<Self>,
        _gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        values
    }

    #[cfg(feature = "_kernels")]
    fn known_gradient_of_rows(
        _input: FloatTensor<Self>,
        values: FloatTensor<Self>,
        _directions: FloatTensor<Self>,
        _coefficients: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        values
    }
}

#[cfg(feature = "flex")]
impl KnownGradient for Flex {}

// The operation computes nothing, so Burn's fusion needs no description of it.
#[cfg(feature = "_kernels")]
impl KnownGradient for Cube {}

/// What a backend can say of the gradients that arrive in the backward pass.
trait Upstream: Backend {
    /// Whether the factors are all one, as far as can be told without waiting for a device.
    #[cfg(feature = "flex")]
    fn are_ones(_factors: &FloatTensor<Self>) -> bool {
        false
    }
}

#[cfg(feature = "flex")]
impl Upstream for Flex {
    fn are_ones(factors: &FloatTensor<Self>) -> bool {
        let (single, double) = (factors.as_slice::<f32>(), factors.as_slice::<f64>());
        single.is_some_and(|factors| factors.iter().all(|factor| *factor == 1.0))
            || double.is_some_and(|factors| factors.iter().all(|factor| *factor == 1.0))
    }
}

#[cfg(feature = "_kernels")]
impl Upstream for Cube {}

/// What the backward pass multiplies: a gradient, or directions and the coefficients of their rows.
#[derive(Clone, Debug)]
enum Known<T> {
    #[cfg(feature = "flex")]
    Gradient(T),
    #[cfg(feature = "_kernels")]
    Rows(T, T),
}

#[derive(Debug)]
struct Scale;

impl<B: Upstream> Backward<B, 1> for Scale {
    type State = Known<FloatTensor<B>>;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let factors = gradients.consume::<B>(&ops.node);
        let [Some(input)] = ops.parents else {
            return;
        };
        let column = |factors: FloatTensor<B>| {
            let rows = factors.shape().num_elements();
            B::float_reshape(factors, Shape::new([rows, 1]))
        };
        let gradient = match ops.state {
            #[cfg(feature = "flex")]
            Known::Gradient(gradient) if B::are_ones(&factors) => gradient,
            #[cfg(feature = "flex")]
            Known::Gradient(gradient) => B::float_mul(gradient, column(factors)),
            #[cfg(feature = "_kernels")]
            Known::Rows(directions, coefficients) => {
                let factors = B::float_mul(column(coefficients), column(factors));
                B::float_mul(directions, factors)
            }
        };
        gradients.register::<B>(input.id, gradient);
    }
}

fn known<B: Upstream, C: CheckpointStrategy>(
    input: FloatTensor<Autodiff<B, C>>,
    values: FloatTensor<Autodiff<B, C>>,
    known: Known<FloatTensor<B>>,
) -> FloatTensor<Autodiff<B, C>> {
    let values = values.into_primitive();
    match Scale
        .prepare::<C>([input.node()])
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(graph) => graph.finish(known, values),
        OpsKind::UnTracked(graph) => graph.finish(values),
    }
}

impl<B: Upstream + KnownGradient, C: CheckpointStrategy> KnownGradient for Autodiff<B, C> {
    #[cfg(feature = "flex")]
    fn known_gradient(
        input: FloatTensor<Self>,
        values: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        known::<B, C>(input, values, Known::Gradient(gradient.into_primitive()))
    }

    #[cfg(feature = "_kernels")]
    fn known_gradient_of_rows(
        input: FloatTensor<Self>,
        values: FloatTensor<Self>,
        directions: FloatTensor<Self>,
        coefficients: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (directions, coefficients) =
            (directions.into_primitive(), coefficients.into_primitive());
        known::<B, C>(input, values, Known::Rows(directions, coefficients))
    }
}
