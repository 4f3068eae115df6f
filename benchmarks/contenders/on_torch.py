"""What torch's contenders have in common: Adam, the training step, no gradients elsewhere."""

import contextlib
import functools

import torch
from measuring.work import portions

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

torch.optim.Adam(
    [torch.zeros(1)]
)  # imports much of torch when it is first used; no contender's imports are timed


class OnTorch:
    """A `torch.nn.Module`, its batch x, and three functions: loss(x), log_prob(x), sample(count)."""

    def __init__(self, work, model, x, loss, log_prob, sample):
        self.work, self.x = work, x
        self.loss, self.log_prob_of, self.sample_of = loss, log_prob, sample
        self.optimizer = torch.optim.Adam(model.parameters(), 1e-4)
        self.cast = contextlib.nullcontext
        if work["precision"] == "bfloat16":
            self.cast = lambda: torch.autocast(DEVICE, torch.bfloat16)

    def train(self, steps, lap):
        for _ in range(steps):
            self.optimizer.zero_grad(set_to_none=True)
            with self.cast():
                loss = self.loss(self.x)
            loss.backward()
            self.optimizer.step()
            lap()

    def log_prob(self):
        with torch.no_grad(), self.cast():
            self.log_prob_of(self.x)

    def sample(self):
        with torch.no_grad(), self.cast():
            self.sample_of(self.work["batch"])

    def log_prob_many(self):
        with torch.no_grad(), self.cast():
            for count in portions(self.work):
                self.log_prob_of(self.rows(count))

    def sample_many(self):
        with torch.no_grad(), self.cast():
            for count in portions(self.work):
                self.sample_of(count)

    @functools.cached_property
    def rows(self):
        """count -> as many rows: those of the batch, again and again."""
        return functools.cache(lambda count: _again(self.x, count))


def _again(x, count):
    if isinstance(x, list):
        return [_again(part, count) for part in x]
    return x.detach()[torch.arange(count, device=x.device) % len(x)]
