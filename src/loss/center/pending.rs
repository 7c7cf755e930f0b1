use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
};
use burn::tensor::Device;
use burn_std::sync::Mutex;

use super::rule::UpdateTiming;
use crate::centers::CenterUpdate;
use crate::error::LossError;

/// The updates that wait for `apply_pending`.
///
/// A leaf module without parameters, so that `valid()` can detach from the list: a loss in validation mode has an
/// empty list of its own.
///
/// Clones of a shared list note into the same list. Burn's multi-device training clones the model once per shard, in
/// the order of the shards, and drops the clones. Each clone takes the next ticket. Sorting by ticket then gives the
/// order of the shards, whichever worker was first.
#[derive(Debug)]
pub(super) struct Pending {
    timing: UpdateTiming,
    ticket: usize,
    list: Arc<List>,
}

#[derive(Debug, Default)]
struct List {
    tickets: AtomicUsize,
    updates: Mutex<Vec<Noted>>,
}

#[derive(Clone, Debug)]
struct Noted {
    ticket: usize,
    /// The number of records that the loss had loaded: an update against other centers is void.
    loads: usize,
    update: CenterUpdate,
}

/// More updates than any accumulation over any number of devices makes between two steps of the optimizer. The limit
/// keeps a training that never applies its updates from filling the memory while its centers stand still.
const MAX_PENDING: usize = 4096;

impl Pending {
    /// An empty list.
    pub fn new(timing: UpdateTiming) -> Self {
        Self {
            timing,
            ticket: 0,
            list: Arc::default(),
        }
    }

    /// An empty list, shared by clones as this one is.
    pub fn emptied(&self) -> Self {
        Self::new(self.timing)
    }

    /// Checks that one more update fits.
    pub fn check_room(&self, loads: usize) -> Result<(), LossError> {
        let mut updates = self.list.updates.lock();
        updates.retain(|noted| noted.loads == loads);
        match updates.len() {
            count if count >= MAX_PENDING => Err(LossError::PendingNotApplied { count }),
            _ => Ok(()),
        }
    }

    /// Notes an update of a loss that has loaded so many records.
    pub fn push(&self, update: CenterUpdate, loads: usize) {
        self.list.updates.lock().push(Noted {
            ticket: self.ticket,
            loads,
            update,
        });
    }

    /// Takes all updates, in the order of the clones, and within a clone in the order they came.
    pub fn take(&self, loads: usize) -> Vec<CenterUpdate> {
        let mut updates = std::mem::take(&mut *self.list.updates.lock());
        updates.retain(|noted| noted.loads == loads);
        updates.sort_by_key(|noted| noted.ticket);
        updates.into_iter().map(|noted| noted.update).collect()
    }
}

impl Clone for Pending {
    fn clone(&self) -> Self {
        let list = match self.timing {
            UpdateTiming::OnStepShared => self.list.clone(),
            UpdateTiming::Immediate | UpdateTiming::OnStep => Arc::new(List {
                tickets: AtomicUsize::new(0),
                updates: Mutex::new(self.list.updates.lock().clone()),
            }),
        };
        Self {
            timing: self.timing,
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
