"""Cases of tables of labels, continued: how they name the files, and splits in the table or in the folders."""

import unicodedata

from tests.data.cases import Right, refused, table
from tests.data.table_cases import FILES, NAMES, PLAIN, rows

GOOD = (12, "train 12", "a|b")
TREE = "train/a|b/5 test/a|b/2"
SPLIT_NAMES = [f"{s}/{k}/{s}-{k}{i}.png" for s, n in (("train", 5), ("test", 2)) for k in "ab" for i in range(n)]
MAC = [unicodedata.normalize("NFD", f"été{i}.png") for i in range(12)]


def named(change: str) -> str:
    """The plain table with another form of every file name: {dir}, {name}, {stem} stand for its parts."""
    parts = [(name[0], name[2:], name[2:-4]) for name in NAMES]
    return rows(
        "file,label", lambda i, n: change.format(dir=parts[i][0], name=parts[i][1], stem=parts[i][2]) + f",{n[0]}"
    )


def split_rows(change: str, names: list[str]) -> str:
    """A table with a column of splits: `change` maps the number of a row to a value, as `0:test 4:val`."""
    values = dict(part.split(":") for part in change.split())
    return rows("file,label,split", lambda i, n: f"{n},{n[0]},{values.get(str(i % 6), 'train')}", names)


CASES = [
    table("tab/abs.csv", "absolute paths of another machine", FILES, named("/home/me/data/{dir}/{name}"),
          Right(*GOOD, ("All 12 rows match if `/home/me/data/` is dropped",))),
    table("tab/prefix.csv", "a folder in front", FILES, named("img/{dir}/{name}"),
          Right(*GOOD, ("if `img/` is dropped",))),
    table("tab/dot.csv", "./ in front", FILES, named("./{dir}/{name}"), Right(*GOOD)),
    table("tab/backslash.csv", "written on Windows", FILES, named("C:\\data\\{dir}\\{name}"),
          Right(*GOOD, ("`C:/data/`",))),
    table("tab/url.csv", "file:// addresses", FILES, named("file:///data/{dir}/{name}"), Right(*GOOD, ("`/data/`",))),
    table("tab/address.csv", "addresses with escapes", "été/12",
          rows("file,label", lambda i, n: f"https://h.example/x/%C3%A9t%C3%A9/%C3%A9t%C3%A9{i}.png?raw=1,{'ab'[i % 2]}",
               NAMES),
          Right(*GOOD, ("`https://h.example/x/` is dropped",))),
    table("tab/double slash.csv", "paths put together carelessly", FILES, named("{dir}//./{name}"), Right(*GOOD)),
    table("tab/nosuffix.csv", "names without suffix", FILES, named("{dir}/{stem}"),
          Right(*GOOD, ("without their suffix",))),
    table("tab/other suffix.csv", "converted since", FILES, named("{dir}/{stem}.tif"),
          Right(*GOOD, ("without their suffix",))),
    table("tab/base.csv", "names without folder", FILES, named("{name}"), Right(*GOOD, ("whatever its folder",))),
    table("tab/base nosuffix.csv", "neither folder nor suffix", FILES, named("{stem}"),
          Right(*GOOD, ("whatever its folder without their suffix",))),
    table("tab/front.csv", "relative to a folder inside", "images/a|b/6 x.txt",
          rows("file,label", lambda i, n: f"{n[0]}/images-{n[2:]},{n[0]}"),
          Right(*GOOD, ("`images/` is put in front",))),
    table("tab/upper.csv", "another case", FILES, named("{dir}/{stem}.PNG"), Right(*GOOD, ("in any case",))),
    table("tab/two prefixes.csv", "two folders in front", "12",
          rows("file,label", lambda i, n: f"{'xy'[i % 2]}/{i}.png,{'ab'[i % 2]}", NAMES),
          refused("`x/`, `y/` is dropped", "not one thing for all rows")),
    table("tab/split paths.csv", "the split in the path, but not on the disk", "12",
          rows("file,label", lambda i, n: f"{'train' if i < 9 else 'test'}/{i}.png,{'ab'[i % 2]}", NAMES),
          refused("`test/`, `train/` is dropped")),
    table("tab/same names.csv", "names that two folders have", "x|y/p.png x|y/q.png x|y/r.png 9",
          "file,label\np.png,a\nq.png,b\nr.png,a\n", refused("two images for one row")),
    table("tab/missing.csv", "two files are gone", FILES, PLAIN + "gone1.png,a\ngone2.png,b\n",
          refused("names 2 file(s) that are not images of the folder: gone1.png, gone2.png", "12 of 14 rows match")),
    table("tab/missing prefix.csv", "a prefix, and two are gone", FILES,
          named("img/{dir}/{name}") + "img/gone1.png,a\n",
          refused("12 of 13 rows match if `img/` is dropped", "gone1.png")),
    table("tab/wrong folder.csv", "a table of other images", FILES,
          "file,label\n" + "".join(f"photo{i}.png,{i % 2}\n" for i in range(5000)),
          refused("names 5,000 file(s)", "photo0.png")),
    table("tab/heic.csv", "files that are not read", FILES + " h.heic", PLAIN + "h.heic,a\n",
          refused("not as images that are read")),
    table("uni", "the table from Linux, the files from a Mac", " ".join(MAC),
          "file,label\n" + "".join(f"été{i}.png,{'ab'[i % 2]}\n" for i in range(12)),
          Right(*GOOD, absent=("match",))),
    table("uni/label", "one label in two forms", FILES,
          PLAIN.replace(",b\n", ",é\n").replace("a0.png,a", "a0.png,e\u0301"), Right(12, "train 12", "a|é")),
    table("tab/deep paths", "link names above 255 bytes", f"{'d' * 120}/{'e' * 120}/12",
          rows("file,label", lambda i, n: f"{'d' * 120}/{'e' * 120}/{'e' * 20}{i}.png,{'ab'[i % 2]}", NAMES),
          Right(*GOOD)),
    table("tab/split.csv", "a column split", FILES, split_rows("0:test 3:val", NAMES),
          Right(12, "train 8 val 2 test 2", "a|b", ("split = split",))),
    table("tab/split words.csv", "other words for splits", FILES, split_rows("0:Testing 3:validation", NAMES),
          Right(12, "train 8 val 2 test 2", "a|b")),
    table("tab/subset.csv", "another name of the column", FILES,
          split_rows("0:test", NAMES).replace("split", "subset"), Right(12, "train 10 test 2", "a|b")),
    table("tab/usage.csv", "no name for a split, but its values", FILES,
          split_rows("0:test", NAMES).replace("split", "usage"),
          Right(12, "train 10 test 2", "a|b", ("split = usage",))),
    table("tab/split numbers.csv", "numbers for splits", FILES, split_rows("0:2 3:1 1:0 2:0 4:0 5:0", NAMES),
          refused("the column split holds 2, 0, 1", "train, val or test")),
    table("tab/split public.csv", "two tests that must not become one", FILES,
          split_rows("0:PublicTest 3:PrivateTest", NAMES).replace("split", "Usage"),
          refused("Usage", "PublicTest, PrivateTest")),
    table("tab/is_train.csv", "a column of yes and no", FILES,
          split_rows("0:0 3:0 1:1 2:1 4:1 5:1", NAMES).replace("split", "is_train"),
          refused("is_train", "Write a column split")),
    table("tab/is_valid.csv", "a column of Y and N", FILES,
          split_rows("0:Y 3:Y 1:N 2:N 4:N 5:N", NAMES).replace("split", "is_valid").replace(",train", ",N"),
          refused("is_valid", "Write a column split")),
    table("tab/data_split.csv", "short words in a column that is named for the split", FILES,
          split_rows("0:te 3:te", NAMES).replace("split", "data_split").replace("train", "tr"),
          refused("data_split holds", "tr", "train, val or test in every row")),
    *[table(f"tab/{name} of numbers.csv", "numbers for splits under another name", FILES,
            split_rows("0:2 3:1 1:0 2:0 4:0 5:0", NAMES).replace("split", name),
            refused(f"the column {name} holds 2, 0, 1", "train, val or test")) for name in ("partition", "subset")],
    table("tab/training.csv", "a column of on and off", FILES,
          split_rows("0:off 3:off 1:on 2:on 4:on 5:on", NAMES).replace("split", "training"),
          refused("training", "Write a column split")),
    table("tab/fold.csv", "folds", FILES, split_rows("0:0 3:1 1:2 2:0 4:1 5:2", NAMES).replace("split", "fold"),
          Right(12, "train 12", "a|b", ("not used: fold",))),
    table("tab/zeros.csv", "Excel took the zeros", " ".join(f"{i:04}x.png" for i in range(12)),
          rows("file,label", lambda i, n: f"{i}x,{'ab'[i % 2]}"), Right(*GOOD, ("zeros in front",))),
    table("tab/outside.csv", "labelled images outside the splits", TREE + " new/6",
          rows("file,label", lambda i, n: f"new/new{i}.png,{'ab'[i % 2]}", NAMES[:6]) + "test/a/test-a0.png,a\n",
          Right(20, "train 16 test 4", "a|b", ("6 images lie outside the folders of the splits",))),
    table("tab/split gaps.csv", "rows without a split", FILES, split_rows("0:", NAMES), refused("(empty)")),
    table("tab/split no train.csv", "no train", FILES, split_rows("0:test 1:test 2:test 3:val 4:val 5:val", NAMES),
          refused("some rows must be of train")),
    table("tab/split label.csv", "a label that only test has", FILES,
          split_rows("0:test", NAMES).replace(",b,test", ",c,test"),
          refused("no training image has these labels", "c (1 images)")),
    table("tab/split unlabelled.csv", "a test without labels", FILES,
          split_rows("0:test", NAMES).replace(",a,test", ",,test").replace(",b,test", ",,test"),
          Right(10, "train 10", "a|b", ("2 images in test/ have no labels", "held out"))),
    table("tab/folders.csv", "train/ and test/ of the files", TREE,
          rows("file,label", lambda i, n: f"{n},{n.split('/')[1]}", SPLIT_NAMES),
          Right(14, "train 10 test 4", "a|b", ("The folders' splits are kept: train 10, test 4",))),
    table("tab/folders base.csv", "the same, by name alone", TREE,
          rows("file,label", lambda i, n: f"{n.split('/')[2]},{n.split('/')[1]}", SPLIT_NAMES),
          Right(14, "train 10 test 4", "a|b")),
    table("tab/folders coco.csv", "train2017 and val2017", "train2017|val2017/8",
          rows("file,label", lambda i, n: f"{n},{'ab'[i % 2]}",
          [f"{s}/{s}{i}.png" for s in ("train2017", "val2017") for i in range(8)]),
          Right(16, "train 8 val 8", "a|b")),
    table("tab/folders agree.csv", "a column that says the same", TREE,
          rows("file,label,split", lambda i, n: f"{n},{n.split('/')[1]},{n.split('/')[0]}", SPLIT_NAMES),
          Right(14, "train 10 test 4", "a|b")),
    table("tab/folders disagree.csv", "a column that says otherwise", TREE,
          rows("file,label,split", lambda i, n: f"{n},{n.split('/')[1]},{'test' if i < 2 else n.split('/')[0]}",
          SPLIT_NAMES),
          refused("disagree on 2 images")),
    table("tab/folders by table", "the same, answered", TREE,
          rows("file,label,split", lambda i, n: f"{n},{n.split('/')[1]},{'test' if i < 2 else n.split('/')[0]}",
          SPLIT_NAMES),
          Right(14, "train 8 test 6", "a|b"), option="classes"),
    table("tab/folders competition.csv", "labels of train alone", "train/10 test/6",
          rows("file,label", lambda i, n: f"train{i}.png,{'ab'[i % 2]}", NAMES[:10]),
          Right(10, "train 10", "a|b", ("6 images in test/ have no labels",))),
]  # fmt: skip
