//! A feature map: every sample a point in the colour and the shape of its class, every class named at its median. And the
//! gallery, maps side by side with lines of text below each.

use std::ops::Range;

use super::svg::{Drawing, Place, class_colour, grid, points, text};

/// The side of the square of a map's points.
const SIDE: f64 = 540.0;
/// That of a map in a gallery.
const GALLERY_SIDE: f64 = 250.0;
/// Between two lines of text in a gallery.
const LEADING: f64 = 17.0;
/// The part of the points that may lie outside the axes, on each side, so that one stray point does not shrink the rest.
const OUTSIDE: f64 = 0.003;
/// The empty border of the axes, as part of their length.
const MARGIN: f64 = 0.06;

/// The points of one picture.
pub struct FeatureMap {
    pub title: String,
    /// What the two axes are.
    pub axes: [String; 2],
    pub points: Vec<(f64, f64)>,
    /// The number of each point's class.
    pub labels: Vec<u8>,
    /// What each class is called.
    pub names: Vec<String>,
    /// The center of each class, or a vector in its direction.
    pub centers: Vec<(f64, f64)>,
    /// Whether the directions of the features are all that counts.
    pub is_angular: bool,
}

/// The ranges of the two axes, of equal length so that distances look as they are.
pub struct Axes {
    x: Range<f64>,
    y: Range<f64>,
}

impl Axes {
    /// Axes that show all `maps`.
    pub fn around<'a>(maps: impl Iterator<Item = &'a FeatureMap> + Clone) -> Self {
        let span = |coordinate: fn(&(f64, f64)) -> f64| {
            let points = maps.clone().flat_map(|map| &map.points).map(coordinate);
            let mut values = Vec::from_iter(points.filter(|value| value.is_finite()));
            values.sort_by(f64::total_cmp);
            let last = values.len().checked_sub(1)?;
            let outside = (last as f64 * OUTSIDE) as usize;
            let maps = maps.clone().filter(|map| !map.is_angular);
            let centers = maps.flat_map(|map| &map.centers).map(coordinate);
            let ends = (values[outside], values[last - outside]);
            Some(centers.fold(ends, |(low, high), value| (low.min(value), high.max(value))))
        };
        let spans = [span(|point| point.0), span(|point| point.1)].map(Option::unwrap_or_default);
        let length = f64::max(spans[0].1 - spans[0].0, spans[1].1 - spans[1].0);
        // A single point has no extent of its own.
        let half = if length > 0.0 { length } else { 1.0 } * (0.5 + MARGIN);
        let [x, y] = spans.map(|(low, high)| f64::midpoint(low, high));
        Self {
            x: x - half..x + half,
            y: y - half..y + half,
        }
    }

    /// The place of a point in a square with this side, if it is within the axes.
    fn place(&self, (x, y): (f64, f64), side: f64) -> Option<Place> {
        let pixels = side / (self.x.end - self.x.start);
        let is_within = self.x.contains(&x) && self.y.contains(&y);
        is_within.then(|| ((x - self.x.start) * pixels, (self.y.end - y) * pixels))
    }
}

impl FeatureMap {
    pub fn draw(&self, axes: &Axes) -> Drawing {
        self.draw_sized(axes, SIDE)
    }

    fn draw_sized(&self, axes: &Axes, side: f64) -> Drawing {
        let letters = (side / 32.0).max(11.0);
        let borders = [5.0, 2.2, 1.4, 3.4].map(|lines| f64::floor(letters * lines));
        let [left, top, right, bottom] = borders;
        let (width, height) = (left + side + right, top + side + bottom);
        let title = text(
            &self.title,
            (width / 2.0, top / 2.0),
            letters * 1.1,
            width,
            "",
        );
        let names = self.axes.each_ref().map(String::as_str);
        let grid = grid([&axes.x, &axes.y], names, side, letters);
        let inside = self.inside(axes, side, letters);
        Drawing {
            width,
            height,
            // An SVG within another cuts off what is outside of it.
            content: format!(
                "{title}<g transform=\"translate({left} {top})\">{grid}<svg width=\"{side}\" height=\"{side}\">{inside}</svg></g>"
            ),
        }
    }

    /// What is between the axes, in a square with this side.
    fn inside(&self, axes: &Axes, side: f64, letters: f64) -> String {
        let mut svg = String::new();
        if self.is_angular && !self.centers.is_empty() {
            svg += &self.directions(axes, side);
        }
        let (mut names, rise) = (
            String::new(),
            if self.centers.is_empty() { 0.0 } else { 1.2 },
        );
        for (label, name) in self.names.iter().enumerate() {
            let of_class = self.points_of(label);
            let places = of_class.iter().filter_map(|&point| axes.place(point, side));
            svg += &points(places, label);
            if let Some((x, y)) = median(&of_class).and_then(|median| axes.place(median, side)) {
                let attributes = "fill=\"var(--ink)\" stroke=\"var(--paper)\" stroke-width=\"4\" \
                                  stroke-linejoin=\"round\" paint-order=\"stroke\"";
                names += &text(
                    name,
                    (x, y - rise * letters),
                    letters * 1.5,
                    side,
                    attributes,
                );
            }
        }
        svg += &names;
        // Above the names, so that none hides one.
        if !self.is_angular {
            let places = self
                .centers
                .iter()
                .filter_map(|&center| axes.place(center, side));
            let cross = |(x, y)| format!("M{x:.1} {y:.1}m-5-5l10 10m-10 0l10-10");
            let crosses: String = places.map(cross).collect();
            for (colour, width) in [("paper", 4), ("ink", 2)] {
                svg += &format!(
                    "<path d=\"{crosses}\" stroke=\"var(--{colour})\" stroke-width=\"{width}\"/>"
                );
            }
        }
        svg
    }

    /// The unit circle, and a ray for each class.
    fn directions(&self, axes: &Axes, side: f64) -> String {
        let pixels = side / (axes.x.end - axes.x.start);
        let (x, y) = (-axes.x.start * pixels, axes.y.end * pixels);
        let mut svg = format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{pixels:.1}\" fill=\"none\" stroke=\"var(--line)\"/>"
        );
        // As far as every corner.
        let far = f64::max(x.abs(), side - x).hypot(f64::max(y.abs(), side - y));
        for (label, &(right, up)) in self.centers.iter().enumerate() {
            let reach = far / right.hypot(up).max(f64::MIN_POSITIVE);
            let colour = class_colour(label);
            svg += &format!(
                "<path d=\"M{x:.1} {y:.1}l{:.1} {:.1}\" stroke=\"{colour}\" stroke-opacity=\"0.6\"/>",
                right * reach,
                -up * reach
            );
        }
        svg
    }

    fn points_of(&self, label: usize) -> Vec<(f64, f64)> {
        let points = self.points.iter().zip(&self.labels);
        let of_class = points.filter(|&(_, &other)| usize::from(other) == label);
        of_class.map(|(&point, _)| point).collect()
    }
}

/// The medians of both coordinates, if there are points.
fn median(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let median = |coordinate: fn(&(f64, f64)) -> f64| {
        let mut values = Vec::from_iter(points.iter().map(coordinate));
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    Some((median(|point| point.0)?, median(|point| point.1)?))
}

/// Maps with axes of their own, row by row, with lines of text below each.
pub fn gallery(panels: &[(FeatureMap, Vec<String>)]) -> Drawing {
    let columns = match panels.len() {
        0..=3 => panels.len().max(1),
        4 => 2,
        _ => 3,
    };
    let lines = panels
        .iter()
        .map(|(_, lines)| lines.len())
        .max()
        .unwrap_or(0);
    let (mut content, mut size) = (String::new(), (1.0, 1.0));
    for (index, (map, lines_below)) in panels.iter().enumerate() {
        let panel = map.draw_sized(&Axes::around([map].into_iter()), GALLERY_SIDE);
        size = (panel.width, panel.height + LEADING * (lines + 1) as f64);
        let (x, y) = (
            (index % columns) as f64 * size.0,
            (index / columns) as f64 * size.1,
        );
        content += &format!("<g transform=\"translate({x} {y})\">{}", panel.content);
        for (line, number) in lines_below.iter().zip(0..) {
            let down = panel.height + LEADING * (f64::from(number) + 0.5);
            content += &text(line, (size.0 / 2.0, down), 12.0, size.0 - 8.0, "");
        }
        content += "</g>";
    }
    Drawing {
        width: size.0 * columns as f64,
        height: size.1 * panels.len().div_ceil(columns).max(1) as f64,
        content,
    }
}

#[cfg(test)]
mod tests {
    use resvg::tiny_skia::PremultipliedColorU8;

    use super::*;

    fn map(points: Vec<(f64, f64)>, centers: Vec<(f64, f64)>) -> FeatureMap {
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

    #[test]
    fn axes_are_square_hold_the_centers_and_let_few_strays_out() {
        let mut points: Vec<_> = (0..1000).map(|i| (f64::from(i) / 1000.0, 0.5)).collect();
        points.push((1e6, 0.5));
        let axes = Axes::around([map(points, vec![(0.0, -2.0)])].iter());
        assert!((axes.x.end - axes.x.start) - (axes.y.end - axes.y.start) < 1e-9);
        assert!(axes.x.end < 3.0, "{:?}", axes.x);
        assert!(axes.y.contains(&-2.0), "{:?}", axes.y);
    }

    /// Where the picture has the cross of the one center of a map.
    fn cross(center: (f64, f64)) -> (f64, f64) {
        // Two points that hold the axes. Their names are in corners of the map.
        let map = map(vec![(-10.0, 10.0), (10.0, -10.0)], vec![center]);
        let picture = map
            .draw(&Axes::around([&map].into_iter()))
            .pixmap()
            .unwrap();
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
        let (origin, right, up) = (cross((0.0, 0.0)), cross((5.0, 0.0)), cross((0.0, 5.0)));
        let (across, up) = (right.0 - origin.0, origin.1 - up.1);
        assert!((across - 540.0 / 1.12 / 4.0).abs() < 1.0, "{across}");
        assert!((across - up).abs() < 1.0, "{across} across, {up} up");
    }

    #[test]
    fn degenerate_maps_can_be_drawn() {
        for points in [vec![], vec![(1.0, 1.0)], vec![(f64::NAN, 0.0), (1.0, 2.0)]] {
            for is_angular in [false, true] {
                let centers = vec![(0.0, 0.0), (1.0, 1.0)];
                let map = FeatureMap {
                    is_angular,
                    ..map(points.clone(), centers)
                };
                map.draw(&Axes::around([&map].into_iter()))
                    .pixmap()
                    .unwrap();
            }
        }
    }

    #[test]
    fn the_median_is_taken_per_class_and_coordinate() {
        let zero = (0.0, 0.0);
        let points = vec![(1.0, 9.0), zero, zero, (2.0, 7.0), zero, zero, (30.0, 8.0)];
        let of_class = map(points, vec![]).points_of(0);
        assert_eq!(median(&of_class), Some((2.0, 8.0)));
    }

    #[test]
    fn galleries_of_any_size_can_be_drawn() {
        for count in [0, 1, 4, 5] {
            let lines = vec![
                "class 0.9900 ± 0.0012".repeat(4),
                "R-precision 0.9".to_owned(),
            ];
            let map = || map(vec![(0.0, 1.0), (1.0, 0.0)], vec![]);
            gallery(&Vec::from_iter((0..count).map(|_| (map(), lines.clone()))))
                .pixmap()
                .unwrap();
        }
    }
}
