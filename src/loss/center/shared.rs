use alloc::sync::Arc;
use alloc::vec::Vec;
use burn::tensor::{Int, Tensor};
use burn_std::sync::{AtomicUsize, Mutex, Ordering};

use super::{CenterLossError, CenterUpdate};

/// What all clones and forks of one center loss have in common: the updates that wait for `apply_pending`, and the
/// counts of samples that deferred checking left out.
///
/// Multi-device training clones the model once per shard, in shard order, and forgets the clones; each clone takes the
/// next ticket, so that sorting the updates by ticket brings them back into shard order however the workers raced.
#[derive(Debug, Default)]
pub(super) struct Shared {
    ticket: usize,
    lists: Arc<Lists>,
}

#[derive(Debug, Default)]
struct Lists {
    tickets: AtomicUsize,
    pending: Mutex<Vec<(usize, CenterUpdate)>>,
    /// One running count per device: labels, features, weights.
    left_out: Mutex<Vec<Tensor<1, Int>>>,
}

impl Clone for Shared {
    fn clone(&self) -> Self {
        Self {
            ticket: self.lists.tickets.fetch_add(1, Ordering::Relaxed) + 1,
            lists: self.lists.clone(),
        }
    }
}

/// More updates than any accumulation over any number of devices makes between two steps of the optimizer.
const MAX_PENDING: usize = 4096;

impl Shared {
    /// Adds an update to the waiting ones.
    ///
    /// Without a limit, a training that never applies them would fill the memory while its centers stand still.
    pub fn push(&self, update: CenterUpdate) -> Result<(), CenterLossError> {
        let mut pending = self.lists.pending.lock();
        let count = pending.len();
        if count >= MAX_PENDING {
            return Err(CenterLossError::PendingNotApplied { count });
        }
        pending.push((self.ticket, update));
        Ok(())
    }

    /// Takes the waiting updates, in the order of their clones, and of their making within one clone.
    pub fn take(&self) -> Vec<CenterUpdate> {
        let mut pending = core::mem::take(&mut *self.lists.pending.lock());
        pending.sort_by_key(|(ticket, _)| *ticket);
        pending.into_iter().map(|(_, update)| update).collect()
    }

    pub fn count(&self, left_out: Tensor<1, Int>) {
        let device = left_out.device();
        let mut counts = self.lists.left_out.lock();
        match counts.iter().position(|count| count.device() == device) {
            Some(i) => {
                let count = counts.swap_remove(i);
                counts.push(count + left_out);
            }
            None => counts.push(left_out),
        }
    }

    pub fn take_counts(&self) -> Vec<Tensor<1, Int>> {
        core::mem::take(&mut *self.lists.left_out.lock())
    }
}
