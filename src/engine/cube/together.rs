use burn_cubecl::cubecl;
use cubecl::prelude::*;

/// What the units that share a row make of the numbers that each of them has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Joining {
    Sum,
    /// The sum of numbers that are not negative, or the least number if one is: a mark.
    SumOrMark,
    Largest,
}

/// One number for all units of a row, from the number of each. Every unit of the cube must get here. `shared` has
/// a place for each.
#[cube]
pub(super) fn together<W: Float>(
    found: W,
    shared: &mut Shared<[W]>,
    #[comptime] joining: Joining,
    #[comptime] width: usize,
) -> W {
    let lane = UNIT_POS_X as usize;
    let place = UNIT_POS as usize;
    // What was found before must have been read by all.
    sync_cube();
    shared[place] = found;
    sync_cube();
    let halvings = comptime![width.ilog2() as usize];
    #[unroll]
    for step in 0..halvings {
        let half = comptime![width >> (step + 1)];
        if lane < half {
            let own = shared[place];
            let other = shared[place + half];
            if comptime![joining == Joining::Largest] {
                shared[place] = max(own, other);
            } else if comptime![joining == Joining::Sum] {
                shared[place] = own + other;
            } else if own < W::new(0.0) || other < W::new(0.0) {
                shared[place] = min(own, other);
            } else {
                shared[place] = own + other;
            }
        }
        sync_cube();
    }
    shared[place - lane]
}
