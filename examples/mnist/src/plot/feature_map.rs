//! A feature map: every sample a point in the colour and the shape of its class, every class named at its median. And the
//! gallery, maps side by side with lines of text below each.

use anyhow::Result;
use minijinja::{Environment, value::Serde};
use serde_json::{Value, json};

use super::svg::{class_colour, class_shape};
use crate::terminal::number;

/// The side of the square of a map's points, in pixels.
const SIDE: f64 = 540.0;
/// That of a map in a gallery.
const GALLERY_SIDE: f64 = 250.0;
/// The part of the points that may lie outside the axes, on each side, so that one stray point does not shrink the rest.
const OUTSIDE: f64 = 0.003;
/// The empty border of the axes, as part of their length.
const MARGIN: f64 = 0.06;
/// About how many ticks an axis has.
const TICKS: f64 = 6.0;

/// The points of one picture.
pub struct FeatureMap {
    pub title: String,
    /// What the two axes are.
    pub axes: [String; 2],
    pub points: Vec<[f64; 2]>,
    /// The number of each point's class.
    pub labels: Vec<u8>,
    /// What each class is called.
    pub names: Vec<String>,
    /// The center of each class, or a vector in its direction.
    pub centers: Vec<[f64; 2]>,
    /// Whether the directions of the features are all that counts.
    pub is_angular: bool,
}

/// The two axes, of equal length so that distances look as they are.
pub struct Axes {
    /// Where they begin, to the left and below.
    start: [f64; 2],
    length: f64,
}

impl Axes {
    /// Axes that show all `maps`.
    pub fn around<'a>(maps: impl Iterator<Item = &'a FeatureMap> + Clone) -> Self {
        let spans = [0, 1].map(|axis| {
            let points = maps.clone().flat_map(|map| &map.points);
            let points = points.map(|point| point[axis]);
            let mut values = Vec::from_iter(points.filter(|value| value.is_finite()));
            values.sort_by(f64::total_cmp);
            let outside = (values.len().saturating_sub(1) as f64 * OUTSIDE) as usize;
            let strays = values.len().min(outside)..values.len().saturating_sub(outside);
            let maps = maps.clone().filter(|map| !map.is_angular);
            let centers = maps.flat_map(|map| &map.centers).map(|center| center[axis]);
            let shown = values[strays].iter().copied().chain(centers);
            let low = shown.clone().reduce(f64::min).unwrap_or(0.0);
            [low, shown.reduce(f64::max).unwrap_or(0.0)]
        });
        let [across, up] = spans.map(|[low, high]| high - low);
        let length = across.max(up);
        // A single point has no extent of its own.
        let length = if length > 0.0 { length } else { 1.0 } * (1.0 + 2.0 * MARGIN);
        let start = spans.map(|[low, high]| f64::midpoint(low, high) - length / 2.0);
        Self { start, length }
    }

    /// The place of a point in a square with this side.
    fn place(&self, point: [f64; 2], side: f64) -> [f64; 2] {
        let [x, y] = [0, 1].map(|axis| (point[axis] - self.start[axis]) / self.length * side);
        [x, side - y]
    }

    /// The round numbers of an axis: how far along a square with this side they are, and their text.
    fn ticks(&self, axis: usize, side: f64) -> Vec<(f64, String)> {
        let (start, end) = (self.start[axis], self.start[axis] + self.length);
        let least = self.length / TICKS;
        let power = 10f64.powf(least.log10().floor());
        let mut steps = [1.0, 2.0, 5.0, 10.0]
            .map(|factor| factor * power)
            .into_iter();
        let step = steps.find(|&step| step >= least).unwrap_or(least);
        let digits = (-1e-9 - step.log10()).ceil().clamp(0.0, 9.0) as usize;
        let numbers = (start / step).ceil() as i64..=(end / step).floor() as i64;
        let tick = |value| (self.place([value; 2], side)[axis], number(value, digits));
        numbers.map(|number| tick(number as f64 * step)).collect()
    }
}

impl FeatureMap {
    /// The map as an SVG.
    pub fn draw(&self, axes: &Axes) -> Result<String> {
        draw(vec![self.json(axes, SIDE, &[])], SIDE)
    }

    /// What the template draws, in a square with this side.
    fn json(&self, axes: &Axes, side: f64, lines: &[String]) -> Value {
        let is_within = |place: &[f64; 2]| place.iter().all(|value| (0.0..=side).contains(value));
        let place = |&point: &[f64; 2]| Some(axes.place(point, side)).filter(is_within);
        let classes = self.names.iter().enumerate().map(|(label, name)| {
            let points = self.points_of(label);
            let (shape, is_filled) = class_shape(label);
            let path = points.iter().filter_map(place);
            let path = path.map(|[x, y]| format!("M{x:.1} {y:.1}{shape}"));
            json!({
                "name": name,
                "colour": class_colour(label),
                "is_filled": is_filled,
                "path": path.collect::<String>(),
                "median": median(&points).as_ref().and_then(place),
            })
        });
        // Farther than every corner.
        let far = axes.start.map(f64::abs).iter().sum::<f64>() + 2.0 * axes.length;
        let centers = self.centers.iter().enumerate();
        let rays = centers.filter_map(|(label, center)| {
            let length = center[0].hypot(center[1]);
            let [x, y] = axes.place(center.map(|value| value / length * far), side);
            (self.is_angular && length > 0.0).then(|| (x, y, class_colour(label)))
        });
        let crosses = self.centers.iter().filter(|_| !self.is_angular);
        json!({
            "title": self.title,
            "axes": self.axes,
            "ticks": [axes.ticks(0, side), axes.ticks(1, side)],
            "classes": Vec::from_iter(classes),
            "has_centers": !self.centers.is_empty(),
            "crosses": Vec::from_iter(crosses.filter_map(place)),
            "rays": Vec::from_iter(rays),
            "origin": axes.place([0.0; 2], side),
            "unit": side / axes.length,
            "lines": lines,
        })
    }

    fn points_of(&self, label: usize) -> Vec<[f64; 2]> {
        let points = self.points.iter().zip(&self.labels);
        let of_class = points.filter(|&(_, &other)| usize::from(other) == label);
        of_class.map(|(&point, _)| point).collect()
    }
}

/// The medians of both coordinates, if there are points.
fn median(points: &[[f64; 2]]) -> Option<[f64; 2]> {
    let median = |axis: usize| {
        let mut values = Vec::from_iter(points.iter().map(|point| point[axis]));
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    Some([median(0)?, median(1)?])
}

/// An SVG of maps with axes of their own, row by row, with lines of text below each.
pub fn gallery(panels: &[(FeatureMap, Vec<String>)]) -> Result<String> {
    let map = |(map, lines): &(FeatureMap, Vec<String>)| {
        map.json(&Axes::around([map].into_iter()), GALLERY_SIDE, lines)
    };
    draw(panels.iter().map(map).collect(), GALLERY_SIDE)
}

/// Draws `maps` row by row.
fn draw(maps: Vec<Value>, side: f64) -> Result<String> {
    let page = Serde(json!({ "maps": maps, "side": side }));
    // By its name, text is escaped.
    Ok(Environment::new().render_named_str("map.xml", include_str!("map.svg"), page)?)
}

#[cfg(test)]
mod tests {
    use resvg::tiny_skia::{Pixmap, PremultipliedColorU8};

    use super::*;
    use crate::plot::pixmap;

    fn map(points: Vec<[f64; 2]>, centers: Vec<[f64; 2]>) -> FeatureMap {
        FeatureMap {
            title: "softmax, test, epoch 1".to_owned(),
            axes: ["first", "second"].map(str::to_owned),
            labels: (0..points.len()).map(|index| (index % 3) as u8).collect(),
            names: ["A", "b", "27"].map(str::to_owned).to_vec(),
            points,
            centers,
            is_angular: false,
        }
    }

    fn draw_png(map: &FeatureMap) -> Pixmap {
        let svg = map.draw(&Axes::around([map].into_iter())).unwrap();
        pixmap(&svg).unwrap()
    }

    #[test]
    fn axes_are_square_hold_the_centers_and_let_few_strays_out() {
        let mut points: Vec<_> = (0..1000).map(|i| [f64::from(i) / 1000.0, 0.5]).collect();
        points.push([1e6, 0.5]);
        let axes = Axes::around([map(points, vec![[0.0, -2.0]])].iter());
        let end = axes.start.map(|start| start + axes.length);
        assert!(end[0] < 3.0, "{end:?}");
        assert!((axes.start[1]..end[1]).contains(&-2.0), "{end:?}");
    }

    #[test]
    fn ticks_are_round_and_short_and_zero_has_no_sign() {
        let shown = |start: f64, length| {
            let start = [start, 0.0];
            let ticks = Axes { start, length }.ticks(0, 1.0);
            Vec::from_iter(ticks.into_iter().map(|(_, text)| text))
        };
        assert_eq!(shown(-0.25, 1.0), ["-0.2", "0.0", "0.2", "0.4", "0.6"]);
        assert_eq!(shown(-21.0, 41.0), ["-20", "-10", "0", "10", "20"]);
        assert_eq!(shown(-2.1, 5.0), ["-2", "-1", "0", "1", "2"]);
        assert_eq!(shown(1.0, 2e-6)[1], "1.0000005");
        assert!(shown(0.0, 3e8).contains(&"1.000e8".to_owned()));
    }

    #[test]
    fn names_cannot_become_markup() {
        let mut map = map(vec![[0.0, 1.0]], vec![]);
        map.names[0] = "<a> & \"b\"".to_owned();
        let svg = map.draw(&Axes::around([&map].into_iter())).unwrap();
        assert!(svg.contains(">&lt;a&gt; &amp; &quot;b&quot;<"), "{svg}");
    }

    /// Where the picture has the cross of the one center of a map.
    fn cross(center: [f64; 2]) -> (f64, f64) {
        // Two points that hold the axes. Their names are in corners of the map.
        let map = map(vec![[-10.0, 10.0], [10.0, -10.0]], vec![center]);
        let picture = draw_png(&map);
        let pixels = picture.pixels().iter().zip(0..);
        let is_black = |pixel: PremultipliedColorU8| {
            [pixel.red(), pixel.green(), pixel.blue()]
                .iter()
                .all(|&value| value < 24)
        };
        let black = pixels.filter(|&(&pixel, _)| is_black(pixel));
        let place = |index: u32| {
            (
                f64::from(index % picture.width()),
                f64::from(index / picture.width()),
            )
        };
        let mut black = Vec::from_iter(black.map(|(_, index)| place(index)));
        black.retain(|(x, y)| (x + y - 620.0).abs() < 300.0);
        let mean = |value: fn(&(f64, f64)) -> f64| {
            black.iter().map(value).sum::<f64>() / black.len() as f64
        };
        (mean(|place| place.0), mean(|place| place.1))
    }

    #[test]
    fn a_unit_is_as_many_pixels_across_as_up() {
        let (origin, right, up) = (cross([0.0, 0.0]), cross([5.0, 0.0]), cross([0.0, 5.0]));
        let (across, up) = (right.0 - origin.0, origin.1 - up.1);
        assert!((across - 540.0 / 1.12 / 4.0).abs() < 1.0, "{across}");
        assert!((across - up).abs() < 1.0, "{across} across, {up} up");
    }

    #[test]
    fn degenerate_maps_can_be_drawn() {
        for points in [vec![], vec![[1.0, 1.0]], vec![[f64::NAN, 0.0], [1.0, 2.0]]] {
            for is_angular in [false, true] {
                let centers = vec![[0.0, 0.0], [1.0, 1.0]];
                let map = FeatureMap {
                    is_angular,
                    ..map(points.clone(), centers)
                };
                draw_png(&map);
            }
        }
    }

    #[test]
    fn the_median_is_taken_per_class_and_coordinate() {
        let zero = [0.0, 0.0];
        let points = vec![[1.0, 9.0], zero, zero, [2.0, 7.0], zero, zero, [30.0, 8.0]];
        let of_class = map(points, vec![]).points_of(0);
        assert_eq!(median(&of_class), Some([2.0, 8.0]));
    }

    #[test]
    fn galleries_of_any_size_can_be_drawn() {
        for count in [0, 1, 4, 5] {
            let lines = vec![
                "class 0.9900 ± 0.0012".repeat(4),
                "R-precision 0.9".to_owned(),
            ];
            let map = || map(vec![[0.0, 1.0], [1.0, 0.0]], vec![]);
            pixmap(&gallery(&Vec::from_iter((0..count).map(|_| (map(), lines.clone())))).unwrap())
                .unwrap();
        }
    }
}
