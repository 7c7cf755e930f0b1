//! Where Burn's fusion ends a kernel.
//!
//! With both its `fusion` and `autotune` on, as they are by default, Burn 0.22.1 may run several sums along the last
//! dimension, and what is computed between them, as one kernel. What such a sum hands on to two later ones is then
//! overwritten by what is handed on next (burn#5257): `multi_block_variable` in `burn-cubecl-fusion` numbers these values
//! by how many tensors they are of, which does not grow when the same tensor is handed on again.

use burn::tensor::Tensor;

use crate::device::{Engine, engine_of, is_host, is_remote};

/// The tensor itself, with the kernel that fusion makes of what it was computed from ending here. Its gradient ends a
/// kernel too. Computes nothing.
pub(crate) fn apart<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    let device = tensor.device().without_autodiff();
    match engine_of(&device) {
        #[cfg(all(feature = "_kernels", feature = "fusion"))]
        Engine::Cube => operation::apart(tensor),
        // Here fusion may be on in Burn and not in this crate, which cannot add an operation to it then. But all that
        // waits to be fused can be sent to the device.
        Engine::Operations if !is_host(&device) && !is_remote(&device) => {
            // A device that has failed says so when something is read from it.
            let _ = device.flush();
            tensor
        }
        _ => tensor,
    }
}

/// An operation that fusion does not know, and therefore does not fuse.
#[cfg(all(feature = "_kernels", feature = "fusion"))]
mod operation {
    use burn::backend::autodiff::checkpoint::base::Checkpointer;
    use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
    use burn::backend::autodiff::grads::Gradients;
    use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
    use burn::backend::tensor::FloatTensor;
    use burn::backend::{Autodiff, Backend, Dispatch, backend_extension};
    use burn::tensor::Tensor;

    use crate::device::KernelBackend;

    pub fn apart<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
        Tensor::from_dispatch(Dispatch::apart(tensor.into_dispatch()))
    }

    #[backend_extension(Cube, Fusion, Autodiff)]
    pub trait Apart: Backend {
        #[fusion(dtype = tensor, shape = tensor)]
        fn apart(tensor: FloatTensor<Self>) -> FloatTensor<Self>;
    }

    impl Apart for KernelBackend {
        fn apart(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
            tensor
        }
    }

    #[derive(Debug)]
    struct Same;

    impl<B: Apart> Backward<B, 1> for Same {
        type State = ();

        fn backward(
            self,
            ops: Ops<Self::State, 1>,
            gradients: &mut Gradients,
            _checkpointer: &mut Checkpointer,
        ) {
            let gradient = gradients.consume::<B>(&ops.node);
            if let [Some(parent)] = ops.parents {
                gradients.register::<B>(parent.id, B::apart(gradient));
            }
        }
    }

    impl<B: Apart, C: CheckpointStrategy> Apart for Autodiff<B, C> {
        fn apart(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
            let node = tensor.node();
            let values = B::apart(tensor.into_primitive());
            match Same.prepare::<C>([node]).compute_bound().stateful() {
                OpsKind::Tracked(graph) => graph.finish((), values),
                OpsKind::UnTracked(graph) => graph.finish(values),
            }
        }
    }
}
