use alloc::sync::Arc;
use alloc::vec::Vec;
use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
};
use burn::tensor::Device;
use burn_std::sync::{AtomicUsize, Mutex, Ordering};

use super::error::CenterLossError;
use crate::centers::Pulls;

/// The updates that wait for `apply_pending`.
///
/// A leaf module without parameters, so that `valid()` can detach from the list: a loss in validation
/// mode has an empty list of its own.
///
/// Clones of a shared list note into the same list. Burn's multi-device training clones the model once
/// per shard, in the order of the shards, and drops the clones. Each clone takes the next ticket, so
/// that sorting by ticket gives the order of the shards, whichever worker was first.
#[derive(Debug)]
pub(super) struct Pending {
    is_shared: bool,
    ticket: usize,
    list: Arc<List>,
}

#[derive(Debug, Default)]
struct List {
    tickets: AtomicUsize,
    updates: Mutex<Vec<(usize, Pulls)>>,
}

/// More updates than any accumulation over any number of devices makes between two steps of the
/// optimizer.
const MAX_PENDING: usize = 4096;

impl Pending {
    /// An empty list.
    pub fn new(is_shared: bool) -> Self {
        Self {
            is_shared,
            ticket: 0,
            list: Arc::default(),
        }
    }

    /// An empty list, shared by clones as this one is.
    pub fn emptied(&self) -> Self {
        Self::new(self.is_shared)
    }

    /// Adds an update. The limit keeps a training that never applies its updates from filling the memory
    /// while its centers stand still.
    pub fn push(&self, update: Pulls) -> Result<(), CenterLossError> {
        let mut updates = self.list.updates.lock();
        let count = updates.len();
        if count >= MAX_PENDING {
            return Err(CenterLossError::PendingNotApplied { count });
        }
        updates.push((self.ticket, update));
        Ok(())
    }

    /// Takes all updates, in the order of the clones, and within a clone in the order they were noted.
    pub fn take(&self) -> Vec<Pulls> {
        let mut updates = core::mem::take(&mut *self.list.updates.lock());
        updates.sort_by_key(|(ticket, _)| *ticket);
        updates.into_iter().map(|(_, update)| update).collect()
    }
}

impl Clone for Pending {
    fn clone(&self) -> Self {
        let list = if self.is_shared {
            self.list.clone()
        } else {
            Arc::new(List {
                tickets: AtomicUsize::new(0),
                updates: Mutex::new(self.list.updates.lock().clone()),
            })
        };
        Self {
            is_shared: self.is_shared,
            ticket: list.tickets.fetch_add(1, Ordering::Relaxed) + 1,
            list,
        }
    }
}

impl Module for Pending {
    fn collect_devices(&self, devices: Devices) -> Devices {
        devices
    }

    fn fork(self, _device: &Device) -> Self {
        self
    }

    fn to_device(self, _device: &Device) -> Self {
        self
    }

    fn visit<V: ModuleVisitor>(&self, _visitor: &mut V) {}

    fn map<M: ModuleMapper>(self, _mapper: &mut M) -> Self {
        self
    }

    fn valid(&self) -> Self {
        self.emptied()
    }

    fn train(self) -> Self {
        self
    }

    fn materialize(self) -> Self {
        self
    }
}

impl ModuleDisplayDefault for Pending {
    fn content(&self, content: Content) -> Option<Content> {
        content.optional()
    }
}

impl ModuleDisplay for Pending {}
