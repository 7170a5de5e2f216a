"""What a check with limits prints and counts."""


class Verdicts:
    def __init__(self):
        self.bad = 0

    def error(self, what, value, limit):
        self.bad += not value <= limit
        print(f"{what}: relative error {value:.2e}, limit {limit:.2e}: {'ok' if value <= limit else 'ABOVE THE LIMIT'}")

    def fact(self, what, holds):
        self.bad += not holds
        print(f"{what}: {'ok' if holds else 'NO'}")
