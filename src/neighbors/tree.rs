//! Search among references of few columns: a k-d tree. A query visits only the parts that can hold a neighbor.

use super::metric::{KnnMetric, is_zero};
use super::nearest::{Nearest, Neighbor};
use super::rows::Rows;
use crate::loops::for_each_part;
use std::ops::Range;

/// References of a leaf.
const LEAF: usize = 16;

/// Queries whose neighbors one thread looks for in turn.
const QUERIES_AT_ONCE: usize = 64;

/// The references as a tree over as many columns as are compiled for, the missing ones filled with zeros: their squared
/// differences are zero, and adding zero changes no sum.
#[derive(Clone)]
pub(crate) enum Tree {
    Two(KdTree<2>),
    Four(KdTree<4>),
    Eight(KdTree<8>),
}

impl Tree {
    /// The most columns a tree is made for. With more, most parts have to be visited.
    pub(crate) const MAX_COLUMNS: usize = 8;

    /// A tree of rows that `metric`, which isn't `InnerProduct`, has prepared, with at most `MAX_COLUMNS` columns.
    pub(crate) fn new(references: &Rows, metric: KnnMetric) -> Self {
        match references.columns() {
            0..=2 => Self::Two(KdTree::new(references, metric)),
            3..=4 => Self::Four(KdTree::new(references, metric)),
            _ => Self::Eight(KdTree::new(references, metric)),
        }
    }

    /// The `k` nearest of each query, nearest first.
    pub(crate) fn nearest(&self, queries: &Rows, k: usize) -> Vec<Neighbor> {
        match self {
            Self::Two(tree) => tree.nearest(queries, k),
            Self::Four(tree) => tree.nearest(queries, k),
            Self::Eight(tree) => tree.nearest(queries, k),
        }
    }
}

/// A k-d tree whose leaves, all full but the last, lie in memory in their order in the tree.
#[derive(Clone)]
pub(crate) struct KdTree<const D: usize> {
    /// A rank is a squared distance times this factor.
    factor: f64,
    /// Whether directions are compared. Rows of zeros have none and are equally far from every row.
    directions: bool,
    /// Such rows, which are not in the tree.
    zeros: Vec<usize>,
    /// The box around each subtree, before those of its left and then its right half.
    boxes: Vec<Enclosure<D>>,
    leaves: Vec<Leaf<D>>,
}

/// The box around the references of a subtree, and the lowest of their indices.
#[derive(Clone)]
struct Enclosure<const D: usize> {
    /// The least and the greatest value of each column.
    sides: [(f64, f64); D],
    lowest_index: usize,
}

/// Column after column, so that several references are compared at a time.
#[derive(Clone)]
struct Leaf<const D: usize> {
    values: [[f64; LEAF]; D],
    indices: [usize; LEAF],
    len: usize,
}

/// A subtree: the number of its root and the leaves below.
#[derive(Clone)]
struct Node {
    number: usize,
    leaves: Range<usize>,
}

impl Node {
    /// The two halves, `None` for a leaf. A subtree of n leaves has 2 n - 1 nodes.
    fn children(&self) -> Option<(Self, Self)> {
        if self.leaves.len() <= 1 {
            return None;
        }
        let middle = self.leaves.start + self.leaves.len() / 2;
        let left = Self {
            number: self.number + 1,
            leaves: self.leaves.start..middle,
        };
        let right = Self {
            number: self.number + 2 * left.leaves.len(),
            leaves: middle..self.leaves.end,
        };
        Some((left, right))
    }
}

impl<const D: usize> KdTree<D> {
    fn new(references: &Rows, metric: KnnMetric) -> Self {
        let directions = metric == KnnMetric::Cosine;
        let (zeros, mut indices): (Vec<usize>, Vec<usize>) =
            (0..references.len()).partition(|&index| directions && is_zero(references.row(index)));
        let leaves = indices.len().div_ceil(LEAF);
        let mut tree = Self {
            factor: metric.rank_of_squared(1.0),
            directions,
            zeros,
            boxes: Vec::with_capacity(2 * leaves),
            leaves: Vec::with_capacity(leaves),
        };
        if leaves > 0 {
            let root = Node {
                number: 0,
                leaves: 0..leaves,
            };
            tree.add(&root, references, &mut indices);
        }
        tree
    }

    /// Appends the subtree of these references.
    fn add(&mut self, node: &Node, references: &Rows, indices: &mut [usize]) {
        let enclosure = Enclosure::around(references, indices);
        let axis = enclosure.longest_side();
        self.boxes.push(enclosure);
        let Some((left, right)) = node.children() else {
            return self.leaves.push(Leaf::new(references, indices));
        };
        let middle = left.leaves.len() * LEAF;
        indices.select_nth_unstable_by(middle, |&a, &b| {
            // By index if values are equal, so that the references visited first can rule out the rest.
            (references.row(a)[axis].total_cmp(&references.row(b)[axis])).then(a.cmp(&b))
        });
        let (below, above) = indices.split_at_mut(middle);
        self.add(&left, references, below);
        self.add(&right, references, above);
    }

    fn nearest(&self, queries: &Rows, k: usize) -> Vec<Neighbor> {
        let mut neighbors = vec![Neighbor::NONE; queries.len() * k];
        for_each_part(&mut neighbors, QUERIES_AT_ONCE * k, |first, part| {
            for (at, slots) in part.chunks_exact_mut(k).enumerate() {
                self.nearest_of(queries.row(first / k + at), slots);
            }
        });
        neighbors
    }

    fn nearest_of(&self, row: &[f64], slots: &mut [Neighbor]) {
        if self.directions && is_zero(row) {
            for (index, slot) in slots.iter_mut().enumerate() {
                *slot = without_direction(index);
            }
            return;
        }
        let mut query = [0.0; D];
        query[..row.len()].copy_from_slice(row);
        let zeros = self.zeros.iter().take(slots.len());
        let mut nearest = Nearest::new(slots);
        for &index in zeros {
            nearest.offer(without_direction(index));
        }
        if !self.leaves.is_empty() {
            let root = Node {
                number: 0,
                leaves: 0..self.leaves.len(),
            };
            self.visit(root, &query, &mut nearest);
        }
        nearest.sort();
    }

    fn visit(&self, node: Node, query: &[f64; D], nearest: &mut Nearest) {
        let Some((left, right)) = node.children() else {
            return self.compare(&self.leaves[node.leaves.start], query, nearest);
        };
        let to_left = self.boxes[left.number].bound(query, self.factor);
        let to_right = self.boxes[right.number].bound(query, self.factor);
        let mut children = [(left, to_left), (right, to_right)];
        // The nearer one first: its references rule out more of the other.
        if to_right.rank < to_left.rank {
            children.reverse();
        }
        for (child, bound) in children {
            if nearest.accepts(&bound) {
                self.visit(child, query, nearest);
            }
        }
    }

    fn compare(&self, leaf: &Leaf<D>, query: &[f64; D], nearest: &mut Nearest) {
        let mut squared = [0.0; LEAF];
        for (values, x) in leaf.values.iter().zip(query) {
            for (sum, y) in squared.iter_mut().zip(values) {
                *sum += (x - y) * (x - y);
            }
        }
        for (squared, index) in squared.iter().zip(leaf.indices).take(leaf.len) {
            let rank = squared * self.factor;
            nearest.offer(Neighbor { rank, index });
        }
    }
}

/// A reference whose direction, or that of the query, is not defined.
fn without_direction(index: usize) -> Neighbor {
    Neighbor {
        rank: KnnMetric::RANK_WITHOUT_DIRECTION,
        index,
    }
}

impl<const D: usize> Enclosure<D> {
    fn around(references: &Rows, indices: &[usize]) -> Self {
        let mut sides = [(0.0, 0.0); D];
        for (d, side) in sides.iter_mut().enumerate().take(references.columns()) {
            let values = indices.iter().map(|&index| references.row(index)[d]);
            *side = (
                values.clone().fold(f64::INFINITY, f64::min),
                values.fold(f64::NEG_INFINITY, f64::max),
            );
        }
        Self {
            sides,
            lowest_index: indices.iter().copied().fold(usize::MAX, usize::min),
        }
    }

    /// A neighbor that none of the references comes before, in spite of rounding.
    ///
    /// In each column the box is nowhere farther from the query than a reference in it is. Rounding keeps the order of
    /// numbers, so that the same holds of the rounded differences, of their rounded squares, and, since ranks add the
    /// columns in the same order, of every rounded partial sum.
    fn bound(&self, query: &[f64; D], factor: f64) -> Neighbor {
        let mut squared = 0.0;
        for (&x, &(least, greatest)) in query.iter().zip(&self.sides) {
            let y = if x < least { least } else { x };
            let y = if y > greatest { greatest } else { y };
            squared += (x - y) * (x - y);
        }
        Neighbor {
            rank: squared * factor,
            index: self.lowest_index,
        }
    }

    /// The column in which the references differ most.
    fn longest_side(&self) -> usize {
        let length = |d: usize| self.sides[d].1 - self.sides[d].0;
        (1..D).fold(0, |longest, d| {
            if length(longest) < length(d) {
                d
            } else {
                longest
            }
        })
    }
}

impl<const D: usize> Leaf<D> {
    fn new(references: &Rows, indices: &[usize]) -> Self {
        let mut leaf = Self {
            values: [[0.0; LEAF]; D],
            indices: [0; LEAF],
            len: indices.len(),
        };
        for (at, &index) in indices.iter().enumerate() {
            leaf.indices[at] = index;
            for (values, value) in leaf.values.iter_mut().zip(references.row(index)) {
                values[at] = *value;
            }
        }
        leaf
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_of_a_box_is_the_distance_to_its_nearest_point() {
        let rows = Rows::from_values(vec![1.0, 5.0, 3.0, 2.0, 2.0, 9.0], 2);
        let enclosure = Enclosure::<2>::around(&rows, &[2, 1]);
        for (query, squared) in [
            ([0.0, 0.0], 8.0),
            ([2.5, 4.0], 0.0),
            ([5.0, 10.0], 5.0),
            ([2.0, -1.0], 9.0),
            ([3.5, 9.0], 0.25),
        ] {
            let bound = enclosure.bound(&query, 0.5);
            assert_eq!((bound.rank, bound.index), (squared / 2.0, 1), "{query:?}");
        }
    }

    #[test]
    fn the_longest_side_is_the_column_of_the_largest_difference() {
        let rows = Rows::from_values(vec![1.0, 5.0, -3.0, 2.0, 5.5, 9.0, 0.0, 5.0, 8.0], 3);
        let longest = |indices: &[usize]| Enclosure::<4>::around(&rows, indices).longest_side();
        assert_eq!(longest(&[0, 1, 2]), 2);
        assert_eq!(longest(&[1, 2]), 0);
        assert_eq!(longest(&[0]), 0);
    }
}
