"""What is seen of a project's frames."""

import numpy as np


def test_erasing_says_that_an_object_is_gone(client, clip, square):
    client.upload(clip)
    client.paint(0, square(0) + np.roll(square(0, 2), 22, axis=1))
    client.propagate()
    client.paint(9, square(9))
    marks = client.studio.project(client.project).state.marks(9)
    assert marks.ids == {1}
    assert marks.absent == ({2} if 2 in np.unique(client.labels(8)) else set())
    assert client.state()["stale"] == 9
    client.propagate()
    assert np.array_equal(client.labels(9), square(9))
