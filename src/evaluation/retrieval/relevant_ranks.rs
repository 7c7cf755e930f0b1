//! Ranks of a query's relevant references, from its distances to all references.

use crate::evaluation::relevance::Relevance;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// A reference and how far it is; of equally far references the one with the lowest index is nearer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) distance: f64,
    pub(crate) index: usize,
}

impl Place {
    fn order(&self, other: &Self) -> Ordering {
        (self.distance.total_cmp(&other.distance)).then(self.index.cmp(&other.index))
    }
}

/// Finds where the relevant references of one query after the other stand among all references.
///
/// Only the relevant references are sorted. Each other reference is looked up among them, in a table over equal parts of
/// the range of their distances, and adds one to the ranks of all that it precedes.
#[derive(Default)]
pub(crate) struct RelevantRanks {
    relevant: Vec<Place>,
    /// For each part of the range, how many relevant references lie in the parts before it; one entry more at the end.
    table: Vec<u32>,
    /// How many other references stand between each relevant reference and the relevant one before it.
    others_before: Vec<usize>,
    /// Other references that are as far as a relevant one.
    tied: Vec<Place>,
    ranks: Vec<usize>,
}

impl RelevantRanks {
    /// Takes a query with a relevant reference and its distances to all references, NaN not among them.
    pub(crate) fn find(&mut self, relevance: &Relevance, query: usize, distances: &[f64]) {
        self.relevant.clear();
        self.relevant
            .extend(relevance.relevant(query).map(|index| Place {
                distance: distances[index],
                index,
            }));
        self.relevant.sort_unstable_by(Place::order);
        let lookup = Lookup::fill(&mut self.table, &self.relevant);

        self.others_before.clear();
        self.others_before.resize(self.relevant.len(), 0);
        self.tied.clear();
        for index in relevance.others(query) {
            let other = Place {
                distance: distances[index],
                index,
            };
            if other.distance > lookup.farthest {
                continue;
            }
            let before = lookup.count_before(&self.table, &self.relevant, &other);
            if let Some(others) = self.others_before.get_mut(before) {
                *others += 1;
            }
            if self.has_distance(before, other.distance) {
                self.tied.push(other);
            }
        }

        self.ranks.clear();
        let mut others = 0;
        for (relevant, before) in self.others_before.iter().enumerate() {
            others += before;
            self.ranks.push(relevant + 1 + others);
        }
    }

    /// Whether the relevant reference at `place`, or the one before it, is at this distance.
    fn has_distance(&self, place: usize, distance: f64) -> bool {
        let near = &self.relevant[place.saturating_sub(1)..(place + 1).min(self.relevant.len())];
        near.iter().any(|relevant| relevant.distance == distance)
    }

    /// The ranks of the relevant references in ascending order, 1 for the nearest of all references.
    pub(crate) fn ranks(&self) -> &[usize] {
        &self.ranks
    }

    /// The ranks, first and last, of each run of equally far references that has relevant ones and others.
    pub(crate) fn mixed_ties(&mut self) -> Vec<[usize; 2]> {
        self.tied.sort_unstable_by(Place::order);
        self.tied
            .chunk_by(|a, b| a.distance == b.distance)
            .map(|others| {
                let distance = others[0].distance;
                let start = self
                    .relevant
                    .partition_point(|place| place.distance < distance);
                let end = self
                    .relevant
                    .partition_point(|place| place.distance <= distance);
                // The rank of the run's first relevant reference counts the others of the run with lower indices.
                let lowest = self.relevant[start].index;
                let earlier = others.iter().filter(|other| other.index < lowest).count();
                let first = self.ranks[start] - earlier;
                [first, first + (end - start) + others.len() - 1]
            })
            .collect()
    }
}

/// Divides the range of the relevant distances into equal parts.
struct Lookup {
    nearest: f64,
    farthest: f64,
    /// Parts per unit of distance; 0 where the range cannot be divided.
    scale: f64,
    parts: usize,
}

impl Lookup {
    fn fill(table: &mut Vec<u32>, relevant: &[Place]) -> Self {
        let [nearest, farthest] = [0, relevant.len() - 1].map(|place| relevant[place].distance);
        let parts = 2 * relevant.len();
        let scale = parts as f64 / (farthest - nearest);
        let lookup = Self {
            nearest,
            farthest,
            scale: if scale.is_finite() { scale } else { 0.0 },
            parts,
        };
        table.clear();
        table.resize(parts + 1, 0);
        for place in relevant {
            table[lookup.part(place.distance) + 1] += 1;
        }
        for part in 0..parts {
            table[part + 1] += table[part];
        }
        lookup
    }

    /// The part of a distance. It does not fall where the distance grows, since rounding keeps the order of numbers.
    fn part(&self, distance: f64) -> usize {
        // A negative product becomes 0, and so does the NaN of an infinite difference times 0.
        (((distance - self.nearest) * self.scale) as usize).min(self.parts - 1)
    }

    /// How many relevant references precede the other one.
    fn count_before(&self, table: &[u32], relevant: &[Place], other: &Place) -> usize {
        let part = self.part(other.distance);
        let [start, end] = [table[part] as usize, table[part + 1] as usize];
        start + relevant[start..end].partition_point(|place| place.order(other) == Ordering::Less)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::relevance::Names;
    use alloc::vec;
    use proptest::prelude::*;

    /// Ranks and mixed ties, by sorting all references.
    fn sorted(
        relevance: &Relevance,
        query: usize,
        distances: &[f64],
    ) -> (Vec<usize>, Vec<[usize; 2]>) {
        use crate::evaluation::relevance::Relation;
        let mut places: Vec<Place> = distances
            .iter()
            .enumerate()
            .map(|(index, distance)| Place {
                distance: *distance,
                index,
            })
            .filter(|place| relevance.relation(query, place.index) != Relation::LeftOut)
            .collect();
        places.sort_by(Place::order);
        let is_relevant =
            |place: &Place| relevance.relation(query, place.index) == Relation::Relevant;
        let ranks = (1..)
            .zip(&places)
            .filter(|(_, place)| is_relevant(place))
            .map(|(rank, _)| rank)
            .collect();
        let mut ties = Vec::new();
        let mut first = 1;
        for run in places.chunk_by(|a, b| a.distance == b.distance) {
            if run.iter().any(is_relevant) && !run.iter().all(is_relevant) {
                ties.push([first, first + run.len() - 1]);
            }
            first += run.len();
        }
        (ranks, ties)
    }

    fn check(distances: &[f64], labels: Vec<i128>, keys: Option<Vec<i128>>) {
        let relevance = Relevance::of_set(Names { labels, keys });
        let mut found = RelevantRanks::default();
        for query in 0..relevance.queries() {
            if relevance.relevant_count(query) == 0 {
                continue;
            }
            let (ranks, ties) = sorted(&relevance, query, distances);
            found.find(&relevance, query, distances);
            assert_eq!(found.ranks(), ranks, "query {query}");
            assert_eq!(found.mixed_ties(), ties, "query {query}");
        }
    }

    proptest! {
        #[test]
        fn ranks_are_those_of_a_sort(
            samples in prop::collection::vec(
                (
                    prop_oneof![
                        3 => (0_u8..6).prop_map(f64::from),
                        3 => 0.0..1.0,
                        1 => Just(1e300),
                        1 => Just(f64::INFINITY),
                        1 => Just(-1e300),
                    ],
                    0_i128..3,
                    0_i128..2,
                ),
                1..60,
            ),
            with_keys: bool,
        ) {
            let distances: Vec<f64> = samples.iter().map(|(distance, _, _)| *distance).collect();
            let labels = samples.iter().map(|(_, label, _)| *label).collect();
            let keys = samples.iter().map(|(_, _, key)| *key).collect();
            check(&distances, labels, with_keys.then_some(keys));
        }
    }

    #[test]
    fn all_references_equally_far() {
        check(
            &vec![0.5; 50],
            (0..50).map(|index| index % 3).collect(),
            None,
        );
    }
}
