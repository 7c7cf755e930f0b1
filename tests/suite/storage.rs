//! Where the centers live: records, clones, freezing, moving, and in-place updates.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use burn_center_loss::CenterLoss;

/// The id of the parameter that holds the centers.
pub fn centers_id(loss: &CenterLoss) -> ParamId {
    #[derive(Default)]
    struct Ids(Vec<ParamId>);
    impl ModuleVisitor for Ids {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.id);
        }
    }
    let mut ids = Ids::default();
    loss.visit(&mut ids);
    assert_eq!(ids.0.len(), 1, "the centers are the only float parameter");
    ids.0[0]
}
