//! A feature map: every sample a point in the colour and the shape of its class, every class named at its median. And the
//! gallery, maps side by side with lines of text below each.

use std::ops::Range;

use anyhow::Result;
use plotters::prelude::*;

use super::canvas::{
    INK, LINE, Picture, Surface, centered, class_colour, draw_axes, draw_point, fitting, px,
};

/// The side of the square of a map's points.
const SIDE: u32 = 540;
/// That of a map in a gallery.
const GALLERY_SIDE: u32 = 250;
/// Between two lines of text in a gallery.
const LEADING: u32 = 17;
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
#[derive(Clone)]
pub struct Axes {
    x: Range<f64>,
    y: Range<f64>,
}

impl Axes {
    /// Axes that show all `maps`.
    pub fn around<'a>(maps: impl Iterator<Item = &'a FeatureMap> + Clone) -> Self {
        let span = |coordinate: fn(&(f64, f64)) -> f64| {
            let points = maps.clone().flat_map(|map| &map.points).map(coordinate);
            let mut values: Vec<f64> = points.filter(|value| value.is_finite()).collect();
            values.sort_by(f64::total_cmp);
            let Some(last) = values.len().checked_sub(1) else {
                return (0.0, 0.0);
            };
            let outside = (last as f64 * OUTSIDE) as usize;
            let maps = maps.clone().filter(|map| !map.is_angular);
            let centers = maps.flat_map(|map| &map.centers).map(coordinate);
            centers.fold(
                (values[outside], values[last - outside]),
                |(low, high), value| (low.min(value), high.max(value)),
            )
        };
        let (x, y) = (span(|point| point.0), span(|point| point.1));
        let length = (x.1 - x.0).max(y.1 - y.0);
        // A single point has no extent of its own.
        let half = if length > 0.0 { length } else { 1.0 } * (0.5 + MARGIN);
        let [x, y] = [x, y].map(|(low, high): (f64, f64)| f64::midpoint(low, high));
        let [x, y] = [x, y].map(|middle| middle - half..middle + half);
        Self { x, y }
    }

    fn contain(&self, &(x, y): &(f64, f64)) -> bool {
        self.x.contains(&x) && self.y.contains(&y)
    }
}

/// The size of letters, and what is left of, above, right of and below the square of the points.
fn frame(side: u32) -> (f64, [u32; 4]) {
    let letters = (f64::from(side) / 32.0).max(11.0);
    let borders = [5.0, 2.2, 1.4, 3.4].map(|lines| (letters * lines) as u32);
    (letters, borders)
}

fn size(side: u32) -> (u32, u32) {
    let (_, [left, top, right, bottom]) = frame(side);
    (left + side + right, top + side + bottom)
}

impl FeatureMap {
    pub fn draw(&self, axes: &Axes) -> Result<Picture> {
        let (width, height) = size(SIDE);
        Picture::draw(width, height, |surface| self.draw_on(surface, axes, SIDE))
    }

    /// Draws the map over the whole of `surface`, which may be a part of a picture.
    fn draw_on(&self, surface: &Surface<'_>, axes: &Axes, side: u32) -> Result<()> {
        let (letters, [left, top, right, bottom]) = frame(side);
        let (width, _) = size(side);
        let title = centered(fitting(&self.title, width, letters * 1.1), &INK);
        let place = (px(width) as i32 / 2, px(top) as i32 / 2);
        surface.draw(&Text::new(self.title.as_str(), place, title))?;
        let mut chart = ChartBuilder::on(surface)
            .margin_top(px(top))
            .margin_right(px(right))
            .x_label_area_size(px(bottom))
            .margin_left(px(6))
            .y_label_area_size(px(left - 6))
            .build_cartesian_2d(axes.x.clone(), axes.y.clone())?;
        let names = self.axes.each_ref().map(String::as_str);
        let labels = if side < SIDE { 5 } else { 7 };
        draw_axes(&mut chart, names, [labels; 2], letters)?;
        if self.is_angular && !self.centers.is_empty() {
            let circle = (0..=360).map(|degree| f64::from(degree).to_radians().sin_cos());
            chart.draw_series(LineSeries::new(circle, LINE.stroke_width(px(1))))?;
            for (&(x, y), label) in self.centers.iter().zip(0..) {
                // As far as every corner.
                let far = [&axes.x, &axes.y].map(|range| range.start.abs().max(range.end.abs()));
                let reach = far[0].hypot(far[1]) / x.hypot(y).max(f64::MIN_POSITIVE);
                let ray = [(0.0, 0.0), (x * reach, y * reach)];
                let style = class_colour(label).mix(0.6).stroke_width(px(1));
                chart.draw_series(LineSeries::new(ray, style))?;
            }
        }

        // Charts give places in the picture, and a surface takes them from its own corner.
        let (left, top) = surface.get_base_pixel();
        let from_corner = |(x, y): (i32, i32)| (x - left, y - top);
        for (point, &label) in self.points.iter().zip(&self.labels) {
            if axes.contain(point) {
                let place = from_corner(chart.backend_coord(point));
                draw_point(surface, place, label.into())?;
            }
        }
        for (label, median) in self.medians() {
            if axes.contain(&median) {
                let place = from_corner(chart.backend_coord(&median));
                let name = &self.names[usize::from(label)];
                let rise = if self.centers.is_empty() { 0.0 } else { 1.2 };
                let place = (place.0, place.1 - px((rise * letters) as u32) as i32);
                draw_name(surface, name, place, letters * 1.5)?;
            }
        }
        // Above the names, so that none hides one.
        for &center in self.centers.iter().filter(|_| !self.is_angular) {
            for (colour, width) in [(WHITE, 4), (BLACK, 2)] {
                let style = colour.stroke_width(px(width));
                chart.draw_series([Cross::new(center, px(5), style)])?;
            }
        }
        Ok(())
    }

    /// Each class that has points with the median of both of their coordinates.
    fn medians(&self) -> Vec<(u8, (f64, f64))> {
        let median = |label: u8, coordinate: fn(&(f64, f64)) -> f64| {
            let points = self.points.iter().zip(&self.labels);
            let of_class = points.filter(|&(_, &other)| other == label);
            let mut values: Vec<f64> = of_class.map(|(point, _)| coordinate(point)).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        let place = |label| {
            Some((
                median(label, |point| point.0)?,
                median(label, |point| point.1)?,
            ))
        };
        let named = |label| Some((label, place(label)?));
        (0..=u8::MAX).filter_map(named).collect()
    }
}

/// The name of a class at a place, with a white rim that keeps it legible.
fn draw_name(surface: &Surface<'_>, name: &str, (x, y): (i32, i32), size: f64) -> Result<()> {
    let rim = px(2) as i32;
    let places = [-rim, 0, rim].map(|dx| [-rim, 0, rim].map(|dy| (x + dx, y + dy)));
    for place in places.into_iter().flatten() {
        surface.draw(&Text::new(name, place, centered(size, &WHITE)))?;
    }
    Ok(surface.draw(&Text::new(name, (x, y), centered(size, &BLACK)))?)
}

/// Maps with axes of their own, row by row, with lines of text below each.
pub fn gallery(panels: &[(FeatureMap, Vec<String>)]) -> Result<Picture> {
    let columns = match panels.len() {
        0..=3 => panels.len().max(1),
        4 => 2,
        _ => 3,
    };
    let rows = panels.len().div_ceil(columns).max(1);
    let lines = panels.iter().map(|(_, lines)| lines.len()).max();
    let (width, height) = size(GALLERY_SIDE);
    let below = LEADING * (lines.unwrap_or(0) as u32 + 1);
    let size = (width * columns as u32, (height + below) * rows as u32);
    Picture::draw(size.0, size.1, |surface| {
        for (area, (map, lines)) in surface.split_evenly((rows, columns)).iter().zip(panels) {
            let (upper, lower) = area.split_vertically(px(height));
            map.draw_on(&upper, &Axes::around([map].into_iter()), GALLERY_SIDE)?;
            for (line, index) in lines.iter().zip(0..) {
                let style = centered(fitting(line, width - 8, 12.0), &INK);
                let down = LEADING * index + LEADING / 2;
                let place = (px(width) as i32 / 2, px(down) as i32);
                lower.draw(&Text::new(line.as_str(), place, style))?;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
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
        let picture = map.draw(&Axes::around([&map].into_iter())).unwrap();
        let mut black = picture.black();
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
                map.draw(&Axes::around([&map].into_iter())).unwrap();
            }
        }
    }

    #[test]
    fn the_median_is_taken_per_class_and_coordinate() {
        let zero = (0.0, 0.0);
        let points = vec![(1.0, 9.0), zero, zero, (2.0, 7.0), zero, zero, (30.0, 8.0)];
        assert_eq!(map(points, vec![]).medians()[0], (0, (2.0, 8.0)));
    }

    #[test]
    fn galleries_of_any_size_can_be_drawn() {
        for count in [0, 1, 4, 5] {
            let lines = vec![
                "class 0.9900 ± 0.0012".repeat(4),
                "R-precision 0.9".to_owned(),
            ];
            let map = || map(vec![(0.0, 1.0), (1.0, 0.0)], vec![]);
            gallery(&Vec::from_iter((0..count).map(|_| (map(), lines.clone())))).unwrap();
        }
    }
}
