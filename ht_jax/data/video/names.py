"""Class names of the video sets, as their archives spell the folders."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


UCF11 = _words("""
    basketball biking diving golf_swing horse_riding soccer_juggling swing tennis_swing
    trampoline_jumping volleyball_spiking walking
""")

UCF50 = _words("""
    BaseballPitch Basketball BenchPress Biking Billiards BreastStroke CleanAndJerk Diving Drumming
    Fencing GolfSwing HighJump HorseRace HorseRiding HulaHoop JavelinThrow JugglingBalls JumpRope
    JumpingJack Kayaking Lunges MilitaryParade Mixing Nunchucks PizzaTossing PlayingGuitar
    PlayingPiano PlayingTabla PlayingViolin PoleVault PommelHorse PullUps Punch PushUps
    RockClimbingIndoor RopeClimbing Rowing SalsaSpin SkateBoarding Skiing Skijet SoccerJuggling
    Swing TaiChi TennisSwing ThrowDiscus TrampolineJumping VolleyballSpiking WalkingWithDog YoYo
""")

UCF101 = _words("""
    ApplyEyeMakeup ApplyLipstick Archery BabyCrawling BalanceBeam BandMarching BaseballPitch
    Basketball BasketballDunk BenchPress Biking Billiards BlowDryHair BlowingCandles
    BodyWeightSquats Bowling BoxingPunchingBag BoxingSpeedBag BreastStroke BrushingTeeth
    CleanAndJerk CliffDiving CricketBowling CricketShot CuttingInKitchen Diving Drumming Fencing
    FieldHockeyPenalty FloorGymnastics FrisbeeCatch FrontCrawl GolfSwing Haircut HammerThrow
    Hammering HandstandPushups HandstandWalking HeadMassage HighJump HorseRace HorseRiding HulaHoop
    IceDancing JavelinThrow JugglingBalls JumpRope JumpingJack Kayaking Knitting LongJump Lunges
    MilitaryParade Mixing MoppingFloor Nunchucks ParallelBars PizzaTossing PlayingCello PlayingDaf
    PlayingDhol PlayingFlute PlayingGuitar PlayingPiano PlayingSitar PlayingTabla PlayingViolin
    PoleVault PommelHorse PullUps Punch PushUps Rafting RockClimbingIndoor RopeClimbing Rowing
    SalsaSpin ShavingBeard Shotput SkateBoarding Skiing Skijet SkyDiving SoccerJuggling
    SoccerPenalty StillRings SumoWrestling Surfing Swing TableTennisShot TaiChi TennisSwing
    ThrowDiscus TrampolineJumping Typing UnevenBars VolleyballSpiking WalkingWithDog WallPushups
    WritingOnBoard YoYo
""")

HMDB51 = _words("""
    brush_hair cartwheel catch chew clap climb climb_stairs dive draw_sword dribble drink eat
    fall_floor fencing flic_flac golf handstand hit hug jump kick kick_ball kiss laugh pick pour
    pullup punch push pushup ride_bike ride_horse run shake_hands shoot_ball shoot_bow shoot_gun
    sit situp smile smoke somersault stand swing_baseball sword sword_exercise talk throw turn walk
    wave
""")
