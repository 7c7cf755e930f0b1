//! Several tensors on the host after one wait.

#[cfg(feature = "remote")]
use std::{future::Future, pin::Pin};

use burn::tensor::kind;
use burn::tensor::{Device, ExecutionError, Tensor, TensorData, Transaction};

use crate::device::is_remote;

/// Tensors that are read together, in the order in which they are registered.
pub(crate) enum Reads {
    /// For devices of this machine, which wait once for a transaction.
    Transaction(Transaction),
    /// For devices of other machines, where Burn reads a transaction tensor by tensor, with a round trip for
    /// each. All tensors are asked for before the first is waited for.
    #[cfg(feature = "remote")]
    Requests(Vec<Request>),
}

#[cfg(feature = "remote")]
type Request = Pin<Box<dyn Future<Output = Result<TensorData, ExecutionError>> + Send>>;

impl Reads {
    /// Nothing yet, of tensors on a device.
    pub fn from(device: &Device) -> Self {
        if is_remote(device) {
            #[cfg(feature = "remote")]
            return Self::Requests(Vec::new());
        }
        Self::Transaction(Transaction::default())
    }

    pub fn register<const D: usize, K>(self, tensor: Tensor<D, K>) -> Self
    where
        K: kind::Transaction + 'static,
    {
        match self {
            Self::Transaction(reads) => Self::Transaction(reads.register(tensor)),
            #[cfg(feature = "remote")]
            Self::Requests(mut requests) => {
                requests.push(Box::pin(tensor.into_data_async()));
                Self::Requests(requests)
            }
        }
    }

    /// Waits for all.
    pub fn execute(self) -> Result<Vec<TensorData>, ExecutionError> {
        match self {
            Self::Transaction(reads) => reads.try_execute(),
            #[cfg(feature = "remote")]
            Self::Requests(requests) => burn_std::future::block_on(answers(requests)),
        }
    }
}

/// The answers to requests that are all made before one is waited for.
#[cfg(feature = "remote")]
async fn answers(mut requests: Vec<Request>) -> Result<Vec<TensorData>, ExecutionError> {
    use std::task::Poll;

    let mut found: Vec<Option<_>> = requests.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        // A request is made when it is polled first.
        for (request, found) in requests.iter_mut().zip(&mut found) {
            if found.is_none()
                && let Poll::Ready(answer) = request.as_mut().poll(context)
            {
                *found = Some(answer);
            }
        }
        match found.iter().all(Option::is_some) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    found.into_iter().flatten().collect()
}
